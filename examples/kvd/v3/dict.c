#include "dict.h"

#include "memory.h"

#include <stdlib.h>

#define FIRST_BUCKET_COUNT 16

struct dict *dict_new(const struct dict_kind *kind)
{
    struct dict *dict = memory_new(sizeof *dict);

    dict->kind = kind;
    dict->bucket_count = FIRST_BUCKET_COUNT;
    dict->buckets = memory_new(dict->bucket_count * sizeof *dict->buckets);
    return dict;
}

static struct dict_entry **bucket_of(const struct dict *dict, uint64_t hash)
{
    return &dict->buckets[hash & (dict->bucket_count - 1)];
}

/* Returns the link that holds the entry of `key`, or the one at the end of its chain. */
static struct dict_entry **link_of(const struct dict *dict, const void *key, uint64_t hash)
{
    struct dict_entry **link = bucket_of(dict, hash);

    while (*link && !((*link)->hash == hash && dict->kind->equal((*link)->key, key)))
        link = &(*link)->next;
    return link;
}

void *dict_find(const struct dict *dict, const void *key)
{
    struct dict_entry *entry = *link_of(dict, key, dict->kind->hash(key));

    return entry ? entry->value : NULL;
}

static void grow(struct dict *dict)
{
    struct dict_entry **old = dict->buckets;
    size_t old_count = dict->bucket_count;

    dict->bucket_count = 2 * old_count;
    dict->buckets = memory_new(dict->bucket_count * sizeof *dict->buckets);
    for (size_t i = 0; i < old_count; i++) {
        struct dict_entry *next;
        for (struct dict_entry *entry = old[i]; entry; entry = next) {
            struct dict_entry **bucket = bucket_of(dict, entry->hash);
            next = entry->next;
            entry->next = *bucket;
            *bucket = entry;
        }
    }
    free(old);
}

void dict_put(struct dict *dict, void *key, void *value)
{
    uint64_t hash = dict->kind->hash(key);
    struct dict_entry **link = link_of(dict, key, hash);

    if (*link) {
        dict->kind->free_key(key);
        dict->kind->free_value((*link)->value);
        (*link)->value = value;
        return;
    }
    struct dict_entry *entry = memory_new(sizeof *entry);
    *entry = (struct dict_entry){.hash = hash, .key = key, .value = value};
    *link = entry;
    if (++dict->count > dict->bucket_count)
        grow(dict);
}

static void delete_at(struct dict *dict, struct dict_entry **link)
{
    struct dict_entry *entry = *link;

    *link = entry->next;
    dict->count--;
    dict->kind->free_key(entry->key);
    dict->kind->free_value(entry->value);
    free(entry);
}

bool dict_delete(struct dict *dict, const void *key)
{
    struct dict_entry **link = link_of(dict, key, dict->kind->hash(key));

    if (*link == NULL)
        return false;
    delete_at(dict, link);
    return true;
}

void dict_each_from(struct dict *dict, size_t *cursor, size_t bucket_limit, dict_visitor *visit,
                    void *context)
{
    for (size_t n = 0; n < bucket_limit; n++) {
        struct dict_entry **link = bucket_of(dict, (*cursor)++);
        while (*link) {
            if (visit((*link)->key, (*link)->value, context))
                delete_at(dict, link);
            else
                link = &(*link)->next;
        }
    }
    *cursor &= dict->bucket_count - 1;
}

void dict_each(struct dict *dict, dict_visitor *visit, void *context)
{
    size_t cursor = 0;

    dict_each_from(dict, &cursor, dict->bucket_count, visit, context);
}

static bool delete_it(const void *key, void *value, void *context)
{
    (void)key, (void)value, (void)context;
    return true;
}

void dict_clear(struct dict *dict)
{
    dict_each(dict, delete_it, NULL);
}
