#include "heap.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tables.h"

/* An object to make: at `address`, or in a new block if that is 0. Its bytes follow. */
struct order {
    uint64_t address, size_bytes, align;
};

/* A pointer to set, once all objects are made. */
struct link {
    uint64_t object, offset, target, target_offset;
};

struct range {
    uint64_t address, size_bytes;
};

static void put(FILE *file, uint64_t word) {
    fwrite(&word, sizeof word, 1, file);
}

/* layout, then addresses of each unit with a 0 behind, then the bytes of each bit-field's record. */
int heap_meta(const char *path) {
    FILE *file = fopen(path, "wb");

    if (!file)
        return -1;
    fwrite(layout, sizeof layout[0], layout_count, file);
    for (size_t i = 0; i < place_count; i++) {
        void *address;

        for (int number = 0; (address = places[i](number)) != NULL; number++)
            put(file, (uintptr_t)address);
        put(file, 0);
    }
    for (size_t i = 0; i < bit_field_count; i++) {
        void *record = calloc(1, bit_fields[i].size_bytes + 64);

        bit_fields[i].set(record);
        fwrite(record, 1, bit_fields[i].size_bytes, file);
        free(record);
    }
    return fclose(file);
}

static void *make_object(FILE *file) {
    struct order order;
    void *object;

    if (fread(&order, sizeof order, 1, file) != 1)
        return NULL;
    if (order.address)
        object = (void *)(uintptr_t)order.address;
    else if (order.align > 16)
        object = memalign(order.align, order.size_bytes);
    else
        object = malloc(order.size_bytes);
    if (!object || (order.size_bytes && fread(object, order.size_bytes, 1, file) != 1))
        return NULL;
    return object;
}

int heap_make(const char *path) {
    uint64_t counts[2];
    FILE *file = fopen(path, "rb");
    void **objects;

    if (!file || fread(counts, sizeof counts, 1, file) != 1)
        return -1;
    objects = calloc(counts[0] + 1, sizeof *objects);
    for (uint64_t i = 0; i < counts[0]; i++)
        if (!(objects[i] = make_object(file)))
            return -1;
    for (uint64_t i = 0; i < counts[1]; i++) {
        struct link link;
        char *target;

        if (fread(&link, sizeof link, 1, file) != 1)
            return -1;
        target = (char *)objects[link.target] + link.target_offset;
        memcpy((char *)objects[link.object] + link.offset, &target, sizeof target);
    }
    fclose(file);
    file = fopen(path, "wb");
    for (uint64_t i = 0; file && i < counts[0]; i++)
        put(file, (uintptr_t)objects[i]);
    free(objects);
    return file ? fclose(file) : -1;
}

static int for_ranges(const char *path, void (*what)(struct range)) {
    FILE *file = fopen(path, "rb");
    struct range range;

    while (file && fread(&range, sizeof range, 1, file) == 1)
        what(range);
    return file ? fclose(file) : -1;
}

static volatile unsigned char sum;

static void touch_range(struct range range) {
    for (uint64_t i = 0; i < range.size_bytes; i++)
        sum += ((const unsigned char *)(uintptr_t)range.address)[i];
}

static void free_range(struct range range) {
    free((void *)(uintptr_t)range.address);
}

int heap_touch(const char *path) {
    return for_ranges(path, touch_range);
}

int heap_free(const char *path) {
    return for_ranges(path, free_range);
}
