#include "vector.h"

#include <stdlib.h>
#include <string.h>

void *vector_add(vector *vector, size_t size)
{
    if (vector->used + size > vector->allocated) {
        vector->allocated = 2 * vector->allocated + 4 * size;
        vector->mem = realloc(vector->mem, vector->allocated);
        memset(vector->mem + vector->used, 0, vector->allocated - vector->used);
    }
    vector->used += size;
    return vector->mem + vector->used - size;
}
