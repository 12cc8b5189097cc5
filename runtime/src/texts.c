#define _GNU_SOURCE
/* The pool of constants (texts.h). */
#include "texts.h"

#include <stddef.h>
#include <string.h>
#include <sys/mman.h>

#define CHUNK_BYTES (64u << 10)

struct text {
    const void *bytes; /* NULL: empty slot */
    uint64_t size_bytes;
    uint64_t hash;
};

static struct {
    struct text *table; /* open addressing */
    uint64_t mask, count;
    uint8_t *free; /* rest of the newest chunk */
    uint64_t free_bytes;
} pool;

static void *map(uint64_t bytes) {
    void *start = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return start == MAP_FAILED ? NULL : start;
}

static uint64_t hash_bytes(const uint8_t *bytes, uint64_t size_bytes) {
    uint64_t hash = 14695981039346656037ull ^ size_bytes;
    for (uint64_t i = 0; i < size_bytes; i++)
        hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash ^ hash >> 32;
}

static struct text *find_slot(struct text *table, uint64_t mask, const void *bytes,
                              uint64_t size_bytes, uint64_t hash) {
    uint64_t at = hash & mask;
    for (; table[at].bytes; at = (at + 1) & mask)
        if (table[at].hash == hash && table[at].size_bytes == size_bytes &&
            memcmp(table[at].bytes, bytes, size_bytes) == 0)
            break;
    return &table[at];
}

static int grow_table(void) {
    uint64_t slots = pool.table ? 2 * (pool.mask + 1) : 1024;
    struct text *table = map(slots * sizeof *table);
    if (!table)
        return -1;
    for (uint64_t i = 0; pool.table && i <= pool.mask; i++) {
        struct text *text = &pool.table[i];
        if (text->bytes)
            *find_slot(table, slots - 1, text->bytes, text->size_bytes, text->hash) = *text;
    }
    /* The smaller table stays mapped: a rollback may need it, and together they are no larger than
     * the new one. */
    pool.table = table;
    pool.mask = slots - 1;
    return 0;
}

static void *take(uint64_t size_bytes) {
    uint64_t bytes = (size_bytes + 15) & ~15ull;
    if (bytes > CHUNK_BYTES / 4)
        return map(bytes);
    if (bytes > pool.free_bytes) {
        pool.free = map(CHUNK_BYTES);
        pool.free_bytes = pool.free ? CHUNK_BYTES : 0;
    }
    if (!pool.free)
        return NULL;
    void *result = pool.free;
    pool.free += bytes;
    pool.free_bytes -= bytes;
    return result;
}

const void *kitsune__texts_intern(const void *bytes, uint64_t size_bytes, int *added) {
    *added = 0;
    if ((!pool.table || 2 * pool.count > pool.mask) && grow_table() != 0)
        return NULL;
    uint64_t hash = hash_bytes(bytes, size_bytes);
    struct text *text = find_slot(pool.table, pool.mask, bytes, size_bytes, hash);
    if (text->bytes)
        return text->bytes;
    void *copy = take(size_bytes);
    if (!copy)
        return NULL;
    memcpy(copy, bytes, size_bytes);
    *text = (struct text){copy, size_bytes, hash};
    pool.count++;
    *added = 1;
    return copy;
}
