#include "entry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry *entries;

void entry_add(const char *name)
{
    struct entry *entry = calloc(1, sizeof *entry);

    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->length = (long)strlen(name);
    entry->next = entries;
    entries = entry;
}

void entry_list(void)
{
    for (const struct entry *entry = entries; entry; entry = entry->next)
        printf("%s:%ld\n", entry->name, entry->length);
}
