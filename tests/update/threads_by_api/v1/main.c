#define _GNU_SOURCE
#define VERSION 1
#include "thread_api.h"
