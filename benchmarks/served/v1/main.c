#define _GNU_SOURCE
#define VERSION 1
#include "server.h"
