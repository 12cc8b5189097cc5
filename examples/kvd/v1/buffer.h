/*
 * Bytes on their way: appended at the end, taken from the front. `bytes[start .. end)` is what is
 * in it; pointers into it hold until the next append.
 */
#ifndef KVD_BUFFER_H
#define KVD_BUFFER_H

#include <kitsune.h>
#include <stddef.h>

struct buffer {
    char * E_PTRARRAY(self.capacity) bytes; /* owned */
    size_t start, end, capacity;
};

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline const char *buffer_front(const struct buffer *buffer)
{
    return buffer->bytes + buffer->start;
}

/* Makes room for `length` bytes behind the end and returns where they go. */
char *buffer_reserve(struct buffer *buffer, size_t length);
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_consume(struct buffer *buffer, size_t length);
void buffer_clear(struct buffer *buffer); /* gives the memory back */

#endif
