#define _GNU_SOURCE
#define VERSION 1
#include "workers.h"
