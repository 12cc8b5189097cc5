#define HOST_TOTAL int
#include "plugin.h"

#include <stdio.h>

static const struct api *table; /* a variable of the program */
static int (*scale)(int);       /* a function of it, which it does not export */
static const char *label;       /* a constant of it */
static int (*const twice)(int) = host_twice;
static int *const total = &host_total;
static int runs; /* its own state */

void plugin_start(const struct api *given, int (*function)(int), const char *text)
{
    table = given;
    scale = function;
    label = text;
}

void plugin_run(char *text, unsigned long size)
{
    runs++;
    host_total++;
    snprintf(text, size, "run %d total %d twice %d %d table %d scale %d label %s of %s", runs, *total,
             host_twice(1), twice(2), table->scale(3), scale(4), label, host_table.label);
}

int plugin_later(void)
{
    return host_later(5);
}
