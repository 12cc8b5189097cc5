#define VERSION 2
#include "tree.h"
