#define VERSION 2
#include "../v1/main.c"
