#include "table.h"

#include <stdlib.h>
#include <string.h>

static unsigned lookups;

static unsigned bucket_of(const char *text)
{
    unsigned hash = 5381;
    while (*text)
        hash = hash * 33 + (unsigned char)*text++;
    return hash % TABLE_BUCKETS;
}

struct word *table_get(struct table *table, const char *text)
{
    struct word **link = &table->buckets[bucket_of(text)];
    lookups++;
    for (struct word *word = *link; word; word = word->next)
        if (strcmp(word->text, text) == 0)
            return word;
    struct word *word = calloc(1, sizeof *word);
    if (!word || !(word->text = strdup(text))) {
        free(word);
        return NULL;
    }
    word->next = *link;
    *link = word;
    table->words++;
    return word;
}
