#define _GNU_SOURCE
#define VERSION 3
#include "workers.h"
