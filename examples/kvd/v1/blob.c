#include "blob.h"

#include "memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct blob *blob_new(const void *bytes, size_t length)
{
    struct blob *blob = memory_new(sizeof *blob + length + 1);

    blob->length = length;
    if (bytes != NULL)
        memcpy(blob->bytes, bytes, length);
    return blob;
}

struct blob *blob_format(const char *format, ...)
{
    char text[64];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return blob_new(text, (size_t)length < sizeof text ? (size_t)length : sizeof text - 1);
}

/* FNV-1a, 64 bits, with a last mix so that the low bits depend on all bytes. */
uint64_t blob_hash(const void *any)
{
    const struct blob *blob = any;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < blob->length; i++)
        hash = (hash ^ (unsigned char)blob->bytes[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

bool blob_equal(const void *one, const void *other)
{
    const struct blob *a = one, *b = other;

    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

bool blob_is(const struct blob *blob, const char *word)
{
    return blob->length == strlen(word) && strncasecmp(blob->bytes, word, blob->length) == 0;
}

bool blob_to_number(const struct blob *blob, long long *number)
{
    char first = blob->bytes[0];
    char *end;

    if (first != '-' && (first < '0' || first > '9'))
        return false;
    errno = 0;
    *number = strtoll(blob->bytes, &end, 10);
    return errno == 0 && end == blob->bytes + blob->length;
}
