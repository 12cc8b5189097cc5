/*
 * A byte string of known length: keys, values and arguments. One block each; the bytes may hold
 * zeros, and a zero that does not count follows them.
 */
#ifndef KVD_BLOB_H
#define KVD_BLOB_H

#include <kitsune.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
    size_t length;
    char bytes[E_ARRAY(self.length + 1)];
};

struct blob *blob_new(const void *bytes, size_t length); /* `bytes` NULL: zeros */
struct blob *blob_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t blob_hash(const void *blob);
bool blob_equal(const void *one, const void *other);

/* True if `blob` is `word`, letters of either case. */
bool blob_is(const struct blob *blob, const char *word);

/* Reads the whole of `blob` as a decimal number; false if it is none or too big. */
bool blob_to_number(const struct blob *blob, long long *number);

#endif
