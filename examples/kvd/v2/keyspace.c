#include "keyspace.h"

#include "dict.h"
#include "loop.h"
#include "memory.h"

#include <stdlib.h>

#define SWEEP_INTERVAL_MS 100
#define SWEEP_BUCKETS 2000

static struct dict E_G(struct blob, struct entry) *keys;
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

static bool is_to_be_swept(const void *key, void *entry, void *now)
{
    (void)key;
    return has_expired(entry, *(const int64_t *)now);
}

static int sweep(void)
{
    int64_t now = now_ms();

    dict_each_from(keys, &sweep_cursor, SWEEP_BUCKETS, is_to_be_swept, &now);
    return SWEEP_INTERVAL_MS;
}

void keyspace_start(void)
{
    keys = dict_new(&keys_kind);
    loop_every(SWEEP_INTERVAL_MS, sweep);
}

struct entry *keyspace_find(const struct blob *key)
{
    struct entry *entry = dict_find(keys, key);

    if (entry && has_expired(entry, now_ms())) {
        dict_delete(keys, key);
        return NULL;
    }
    return entry;
}

struct entry *keyspace_use(const struct blob *key)
{
    struct entry *entry = keyspace_find(key);

    if (entry && entry->hits < UINT32_MAX)
        entry->hits++;
    return entry;
}

struct entry *keyspace_set(struct blob *key, struct blob *value)
{
    struct entry *entry = memory_new(sizeof *entry);

    entry->value = value;
    entry->created_ms = now_ms();
    dict_put(keys, key, entry);
    return entry;
}

bool keyspace_delete(const struct blob *key)
{
    return keyspace_find(key) && dict_delete(keys, key);
}

void keyspace_clear(void)
{
    dict_clear(keys);
}

size_t keyspace_count(void)
{
    return keys->count;
}

struct visit {
    keyspace_visitor *visit;
    void *context;
    int64_t now;
};

static bool visit_one(const void *key, void *entry, void *any)
{
    const struct visit *visit = any;

    if (has_expired(entry, visit->now))
        return true;
    visit->visit(key, entry, visit->context);
    return false;
}

void keyspace_each(keyspace_visitor *visit, void *context)
{
    struct visit all = {.visit = visit, .context = context, .now = now_ms()};

    dict_each(keys, visit_one, &all);
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
