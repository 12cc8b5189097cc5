#include "table.h"

#include "memory.h"

#include <stdlib.h>

#define FIRST_SLOT_COUNT 16

/* Slots are taken up to 3 of 4: linear probing stays short. */
static bool is_too_full(size_t count, size_t slot_count)
{
    return count > slot_count - slot_count / 4;
}

struct table *table_new(const struct dict_kind *kind, size_t count)
{
    struct table *table = memory_new(sizeof *table);

    table->kind = kind;
    table->slot_count = FIRST_SLOT_COUNT;
    while (is_too_full(count, table->slot_count))
        table->slot_count *= 2;
    table->slots = memory_new(table->slot_count * sizeof *table->slots);
    return table;
}

static size_t next(const struct table *table, size_t index)
{
    return (index + 1) & (table->slot_count - 1);
}

static size_t home(const struct table *table, uint64_t hash)
{
    return hash & (table->slot_count - 1);
}

/* Returns the slot of `key`, or the free one where it would go. */
static struct slot *slot_of(const struct table *table, const void *key, uint64_t hash)
{
    size_t i = home(table, hash);

    while (table->slots[i].key && !(table->slots[i].hash == hash &&
                                    table->kind->equal(table->slots[i].key, key)))
        i = next(table, i);
    return &table->slots[i];
}

void *table_find(const struct table *table, const void *key)
{
    return slot_of(table, key, table->kind->hash(key))->value;
}

static void grow(struct table *table)
{
    struct slot *old = table->slots;
    size_t old_count = table->slot_count;

    table->slot_count = 2 * old_count;
    table->slots = memory_new(table->slot_count * sizeof *table->slots);
    for (size_t i = 0; i < old_count; i++)
        if (old[i].key)
            *slot_of(table, old[i].key, old[i].hash) = old[i];
    free(old);
}

void table_put(struct table *table, void *key, void *value)
{
    uint64_t hash = table->kind->hash(key);
    struct slot *slot = slot_of(table, key, hash);

    if (slot->key) {
        table->kind->free_key(key);
        table->kind->free_value(slot->value);
        slot->value = value;
        return;
    }
    *slot = (struct slot){.hash = hash, .key = key, .value = value};
    if (is_too_full(++table->count, table->slot_count))
        grow(table);
}

/* Moves those back that probing would no longer find behind the hole (Knuth, 6.4, algorithm R). */
static void close_hole(struct table *table, size_t hole)
{
    for (size_t i = next(table, hole); table->slots[i].key; i = next(table, i)) {
        size_t mask = table->slot_count - 1;
        size_t distance = (i - home(table, table->slots[i].hash)) & mask;
        if (distance >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            hole = i;
        }
    }
    table->slots[hole] = (struct slot){0};
}

static void delete_at(struct table *table, size_t index)
{
    table->kind->free_key(table->slots[index].key);
    table->kind->free_value(table->slots[index].value);
    table->count--;
    close_hole(table, index);
}

bool table_delete(struct table *table, const void *key)
{
    struct slot *slot = slot_of(table, key, table->kind->hash(key));

    if (slot->key == NULL)
        return false;
    delete_at(table, (size_t)(slot - table->slots));
    return true;
}

void table_clear(struct table *table)
{
    for (size_t i = 0; i < table->slot_count; i++) {
        if (table->slots[i].key) {
            table->kind->free_key(table->slots[i].key);
            table->kind->free_value(table->slots[i].value);
        }
        table->slots[i] = (struct slot){0};
    }
    table->count = 0;
}

void table_each(const struct table *table, table_visitor *visit, void *context)
{
    for (size_t i = 0; i < table->slot_count; i++)
        if (table->slots[i].key)
            visit(table->slots[i].key, table->slots[i].value, context);
}

void table_sweep(struct table *table, size_t *cursor, size_t limit, table_predicate *is_over,
                 void *context)
{
    size_t i = home(table, *cursor);

    for (size_t n = 0; n < limit && n < table->slot_count; n++) {
        /* What follows may move into the hole: look at the same slot again. */
        while (table->slots[i].key && is_over(table->slots[i].value, context))
            delete_at(table, i);
        i = next(table, i);
    }
    *cursor = i;
}

const void *table_key_from(const struct table *table, size_t start)
{
    size_t i = home(table, start);

    if (table->count == 0)
        return NULL;
    while (table->slots[i].key == NULL)
        i = next(table, i);
    return table->slots[i].key;
}
