#include "statistics.h"

#include "blob.h"
#include "dict.h"
#include "memory.h"

#include <stdlib.h>
#include <string.h>

struct command_statistics {
    unsigned long long calls;
};

static unsigned long long commands_processed;

/* By the name of the command, as given in the table of commands. */
static struct dict E_G(struct blob, struct command_statistics) *by_command;

static const struct dict_kind by_command_kind = {
    .hash = blob_hash,
    .equal = blob_equal,
    .free_key = free,
    .free_value = free,
};

void statistics_start(void)
{
    by_command = dict_new(&by_command_kind);
}

void statistics_count(const char *command)
{
    struct blob *name = blob_new(command, strlen(command));
    struct command_statistics *of = dict_find(by_command, name);

    if (of) {
        free(name);
    } else {
        of = memory_new(sizeof *of);
        dict_put(by_command, name, of);
    }
    of->calls++;
    commands_processed++;
}

unsigned long long statistics_total(void)
{
    return commands_processed;
}

static bool print_one(const void *name, void *value, void *to)
{
    const struct command_statistics *of = value;

    fprintf(to, "cmdstat_%s:calls=%llu\r\n", ((const struct blob *)name)->bytes, of->calls);
    return false;
}

void statistics_print(FILE *to)
{
    dict_each(by_command, print_one, to);
}
