/*
 * The keys and their values. A key that has expired is not there: each access looks, and a timer
 * removes those that nobody asks for.
 */
#ifndef KVD_KEYSPACE_H
#define KVD_KEYSPACE_H

#include "blob.h"

struct entry {
    struct blob *value;  /* owned */
    int64_t expires_ms;  /* wall clock; 0: never */
};

void keyspace_start(void);
struct entry *keyspace_find(const struct blob *key); /* NULL if it is not there */

/* Takes over both blobs; an older value and its expiry time are gone. Returns the entry. */
struct entry *keyspace_set(struct blob *key, struct blob *value);
bool keyspace_delete(const struct blob *key);
void keyspace_clear(void);
size_t keyspace_count(void);

typedef void keyspace_visitor(const struct blob *key, const struct entry *entry, void *context);
void keyspace_each(keyspace_visitor *visit, void *context);

/* A checksum of all keys, values and expiry times that does not depend on their order. */
uint64_t keyspace_digest(void);

#endif
