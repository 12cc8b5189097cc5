#define VERSION 2
#include "processes.h"
