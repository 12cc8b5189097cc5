#define VERSION 1
#include "tree.h"
