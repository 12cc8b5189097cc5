#define VERSION 1
#include "processes.h"
