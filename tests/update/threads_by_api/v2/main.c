#define _GNU_SOURCE
#define VERSION 2
#include "thread_api.h"
