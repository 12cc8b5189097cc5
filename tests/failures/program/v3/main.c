#define _GNU_SOURCE
#define VERSION 3
#include "server.h"
