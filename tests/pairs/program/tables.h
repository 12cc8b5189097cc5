/* What is generated for a version (meta.c) and read by heap.c. */
#ifndef TABLES_H
#define TABLES_H

#include <stddef.h>
#include <stdint.h>

/* Addresses of what a unit defines, by number; NULL behind the last. */
typedef void *(*at_function)(int number);
/* Sets all bits of one bit-field. */
typedef void (*ones_function)(void *record);

struct bit_field {
    ones_function set;
    size_t size_bytes; /* of the record */
};

extern const uint64_t layout[];
extern const size_t layout_count;
extern const at_function places[];
extern const size_t place_count;
extern const struct bit_field bit_fields[];
extern const size_t bit_field_count;

#endif
