#include "buffer.h"

#include "memory.h"

#include <stdlib.h>
#include <string.h>

/* An empty buffer bigger than this gives its memory back. */
#define KEPT_WHEN_EMPTY (64 * 1024)

char *buffer_reserve(struct buffer *buffer, size_t length)
{
    if (buffer->capacity - buffer->end >= length)
        return buffer->bytes + buffer->end;

    size_t used = buffer_length(buffer);
    if (buffer->start >= used && buffer->capacity - used >= length) {
        if (used > 0)
            memcpy(buffer->bytes, buffer->bytes + buffer->start, used);
    } else {
        size_t capacity = 2 * used + length;
        char *bytes = memory_new(capacity);
        if (used > 0)
            memcpy(bytes, buffer_front(buffer), used);
        free(buffer->bytes);
        buffer->bytes = bytes;
        buffer->capacity = capacity;
    }
    buffer->start = 0;
    buffer->end = used;
    return buffer->bytes + used;
}

void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0)
        return;
    memcpy(buffer_reserve(buffer, length), bytes, length);
    buffer->end += length;
}

void buffer_consume(struct buffer *buffer, size_t length)
{
    buffer->start += length;
    if (buffer->start < buffer->end)
        return;
    if (buffer->capacity > KEPT_WHEN_EMPTY)
        buffer_clear(buffer);
    else
        buffer->start = buffer->end = 0;
}

void buffer_clear(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}
