/*
 * The keys and their values. A key that has expired is not there: each access looks, and a timer
 * removes those that nobody asks for.
 */
#ifndef KVD_KEYSPACE_H
#define KVD_KEYSPACE_H

#include "blob.h"

struct entry {
    struct blob *value; /* owned */
    int64_t expires_ms; /* wall clock; 0: never */
    int64_t created_ms;
    uint8_t frequency; /* about the logarithm of how often it was used since */
};

struct table;

void keyspace_start(void);

/* Makes a keyspace for `count` keys. */
struct table *keyspace_make(size_t count);

/* The frequency of an entry that was used `hits` times. */
uint8_t keyspace_frequency(uint32_t hits);
struct entry *keyspace_find(const struct blob *key); /* NULL if it is not there */
struct entry *keyspace_use(const struct blob *key);  /* the same, and counts as a hit */

/* Takes over both blobs; an older value and its expiry time are gone. Returns the entry. */
struct entry *keyspace_set(struct blob *key, struct blob *value);
bool keyspace_delete(const struct blob *key);
void keyspace_clear(void);
size_t keyspace_count(void);
const struct blob *keyspace_random_key(void); /* NULL if there is none */

typedef void keyspace_visitor(const struct blob *key, const struct entry *entry, void *context);
void keyspace_each(keyspace_visitor *visit, void *context);

/* A checksum of all keys, values and expiry times that does not depend on their order. */
uint64_t keyspace_digest(void);

#endif
