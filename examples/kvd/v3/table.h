/*
 * A hash table with open addressing, from keys to values of any type: a third of the memory that
 * chaining takes per key, and no block per entry. It owns keys and values and frees them through
 * its `kind`. Keys are unique; order is not kept; a slot's address means nothing.
 */
#ifndef KVD_TABLE_H
#define KVD_TABLE_H

#include "dict.h"

#include <kitsune.h>

struct slot {
    uint64_t hash;
    void E_T(@k) *key; /* NULL: free */
    void E_T(@v) *value;
} E_GENERIC(@k, @v);

struct table {
    const struct dict_kind *kind;
    struct slot E_G(@k, @v) * E_PTRARRAY(self.slot_count) slots;
    size_t slot_count; /* a power of two, more than `count` */
    size_t count;
} E_GENERIC(@k, @v);

/* Makes a table that takes `count` entries before it grows. */
struct table *table_new(const struct dict_kind *kind, size_t count);
void *table_find(const struct table *table, const void *key); /* the value, or NULL */

/* Takes over key and value; if the key is there, its value is replaced. */
void table_put(struct table *table, void *key, void *value);
bool table_delete(struct table *table, const void *key);
void table_clear(struct table *table);

/* Calls `visit` for all entries, which it may change but not delete. */
typedef void table_visitor(const void *key, void *value, void *context);
void table_each(const struct table *table, table_visitor *visit, void *context);

/*
 * Deletes those entries of `limit` slots from `*cursor` on for which `is_over` returns true, and
 * sets the cursor to where to go on.
 */
typedef bool table_predicate(const void *value, void *context);
void table_sweep(struct table *table, size_t *cursor, size_t limit, table_predicate *is_over,
                 void *context);

/* The key in the first slot that is taken, from slot `start` on and round; NULL if there is none. */
const void *table_key_from(const struct table *table, size_t start);

#endif
