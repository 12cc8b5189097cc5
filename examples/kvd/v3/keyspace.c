#include "keyspace.h"

#include "loop.h"
#include "memory.h"
#include "table.h"

#include <stdlib.h>

#define SWEEP_INTERVAL_MS 100
#define SWEEP_SLOTS 2000

static struct table E_G(struct blob, struct entry) *keys;
static size_t sweep_cursor;

static void entry_free(void *any)
{
    struct entry *entry = any;

    free(entry->value);
    free(entry);
}

static const struct dict_kind keys_kind = {
    .hash = blob_hash,
    .equal = blob_equal,
    .free_key = free,
    .free_value = entry_free,
};

static bool has_expired(const struct entry *entry, int64_t now)
{
    return entry->expires_ms != 0 && entry->expires_ms <= now;
}

static bool is_over(const void *entry, void *now)
{
    return has_expired(entry, *(const int64_t *)now);
}

static int sweep(void)
{
    int64_t now = now_ms();

    table_sweep(keys, &sweep_cursor, SWEEP_SLOTS, is_over, &now);
    return SWEEP_INTERVAL_MS;
}

struct table *keyspace_make(size_t count)
{
    return table_new(&keys_kind, count);
}

void keyspace_start(void)
{
    keys = keyspace_make(0);
    loop_every(SWEEP_INTERVAL_MS, sweep);
}

struct entry *keyspace_find(const struct blob *key)
{
    struct entry *entry = table_find(keys, key);

    if (entry && has_expired(entry, now_ms())) {
        table_delete(keys, key);
        return NULL;
    }
    return entry;
}

uint8_t keyspace_frequency(uint32_t hits)
{
    uint8_t frequency = 0;

    while (hits >> frequency)
        frequency++;
    return frequency;
}

/* Morris's counter: the n-th power of two is counted with probability 1 / 2^n. */
static void note_use(struct entry *entry)
{
    if (entry->frequency < 31 && (random() & ((1L << entry->frequency) - 1)) == 0)
        entry->frequency++;
}

struct entry *keyspace_use(const struct blob *key)
{
    struct entry *entry = keyspace_find(key);

    if (entry)
        note_use(entry);
    return entry;
}

struct entry *keyspace_set(struct blob *key, struct blob *value)
{
    struct entry *entry = memory_new(sizeof *entry);

    entry->value = value;
    entry->created_ms = now_ms();
    table_put(keys, key, entry);
    return entry;
}

bool keyspace_delete(const struct blob *key)
{
    return keyspace_find(key) && table_delete(keys, key);
}

void keyspace_clear(void)
{
    table_clear(keys);
}

size_t keyspace_count(void)
{
    return keys->count;
}

const struct blob *keyspace_random_key(void)
{
    const struct blob *key;

    /* Looking one up that has expired deletes it. */
    do
        key = table_key_from(keys, (size_t)random());
    while (key && keyspace_find(key) == NULL);
    return key;
}

struct visit {
    keyspace_visitor *visit;
    void *context;
    int64_t now;
};

static void visit_one(const void *key, void *entry, void *any)
{
    const struct visit *visit = any;

    if (!has_expired(entry, visit->now))
        visit->visit(key, entry, visit->context);
}

void keyspace_each(keyspace_visitor *visit, void *context)
{
    struct visit all = {.visit = visit, .context = context, .now = now_ms()};

    table_each(keys, visit_one, &all);
}

static void add_to_digest(const struct blob *key, const struct entry *entry, void *digest)
{
    uint64_t one = blob_hash(key) * 31 + blob_hash(entry->value);

    *(uint64_t *)digest += (one ^ (uint64_t)entry->expires_ms) * 0x9e3779b97f4a7c15u;
}

uint64_t keyspace_digest(void)
{
    uint64_t digest = 0;

    keyspace_each(add_to_digest, &digest);
    return digest;
}
