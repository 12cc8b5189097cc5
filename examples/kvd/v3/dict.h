/*
 * A hash table with chaining, from keys to values of any type. It owns both and frees them through
 * its `kind`. Keys are unique; order is not kept. An entry keeps its address until it is deleted.
 */
#ifndef KVD_DICT_H
#define KVD_DICT_H

#include <kitsune.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dict_kind {
    uint64_t (*hash)(const void *key);
    bool (*equal)(const void *one, const void *other);
    void (*free_key)(void *key);
    void (*free_value)(void *value);
};

struct dict_entry {
    uint64_t hash;
    void E_T(@k) *key;
    void E_T(@v) *value;
    struct dict_entry E_G(@k, @v) *next; /* in the same bucket */
} E_GENERIC(@k, @v);

struct dict {
    const struct dict_kind *kind;
    struct dict_entry E_G(@k, @v) ** E_PTRARRAY(self.bucket_count) buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
} E_GENERIC(@k, @v);

struct dict *dict_new(const struct dict_kind *kind);
void *dict_find(const struct dict *dict, const void *key); /* the value, or NULL */

/* Takes over key and value; if the key is there, its value is replaced. */
void dict_put(struct dict *dict, void *key, void *value);
bool dict_delete(struct dict *dict, const void *key);
void dict_clear(struct dict *dict);

/*
 * Calls `visit` for all entries, or those of `bucket_limit` buckets from `*cursor` on, and sets the
 * cursor to where to go on. The entry is deleted if `visit` returns true.
 */
typedef bool dict_visitor(const void *key, void *value, void *context);
void dict_each(struct dict *dict, dict_visitor *visit, void *context);
void dict_each_from(struct dict *dict, size_t *cursor, size_t bucket_limit, dict_visitor *visit,
                    void *context);

#endif
