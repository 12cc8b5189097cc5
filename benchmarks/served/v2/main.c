#define _GNU_SOURCE
#define VERSION 2
#include "server.h"
