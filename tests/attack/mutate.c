/*
 * Damages a release in many ways and checks each with the launcher's own code, in memory that ends where
 * the file ends: under sanitizers, so that no look past the end goes unseen.
 *
 * usage: mutate RELEASE PARENT_BUILD_ID COUNT SEED; tells how many were refused, by kind and code. Fails
 * if a mutation is accepted that has not its checksum written anew.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "checksum.h"

#define KINDS 8
#define CODES 400

static const char *const names[KINDS] = {
    "cut off",       "a bit changed",   "a header's field", "a section's field",
    "bytes blanked", "bytes exchanged", "bytes appended",   "the identity, with its checksum",
};

static unsigned char *whole;
static size_t whole_size, headers_at, identity_at;
static struct kitsune__running running;
static unsigned long counts[KINDS][CODES];
static unsigned long long state;

/* xorshift64*: the same numbers everywhere. */
static size_t draw(size_t limit) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)(state * 2685821657736338717ull >> 16) % limit;
}

static unsigned char *draw_value(size_t *length) {
    static unsigned long long value;
    static const unsigned long long extremes[] = {
        0, 1, 0x7f, 0xffff, 0x7fffffff, 0xffffffff, 0x7fffffffffffffff, 0xffffffffffffffff};

    value = draw(2) ? extremes[draw(8)] + draw(3) - 1 : whole_size + draw(65) - 32;
    *length = (size_t)1 << draw(4);
    return (unsigned char *)&value;
}

static void overwrite(unsigned char *bytes, size_t size, size_t from, size_t area) {
    for (size_t times = 1 + draw(3); times > 0; times--) {
        size_t length, at = from + draw(area);
        unsigned char *value = draw_value(&length);

        if (at + length <= size)
            memcpy(bytes + at, value, length);
    }
}

static void exchange(unsigned char *bytes, size_t size) {
    size_t length = 1 + draw(256), one = draw(size - length), other = draw(size - length);

    for (size_t i = 0; i < length; i++) {
        unsigned char byte = bytes[one + i];

        bytes[one + i] = bytes[other + i];
        bytes[other + i] = byte;
    }
}

static void write_checksum(unsigned char *bytes, size_t size) {
    uint32_t sum = kitsune__checksum(bytes, size, identity_at);

    memcpy(bytes + identity_at + offsetof(struct kitsune_identity, checksum), &sum, sizeof sum);
}

/* Returns the new size; `bytes` has room for 64 more. */
static size_t damage(unsigned char *bytes, size_t size, size_t kind) {
    size_t at = draw(size), length = 1 + draw(512);

    switch (kind) {
    case 0:
        return draw(8) ? at : draw(200);
    case 1:
        bytes[at] ^= (unsigned char)(1u << draw(8));
        return size;
    case 2:
        overwrite(bytes, size, 0, 64 + 56 * 12);
        return size;
    case 3:
        overwrite(bytes, size, headers_at, size - headers_at);
        return size;
    case 4:
        memset(bytes + at, draw(2) ? 0 : 0xff, at + length < size ? length : size - at);
        return size;
    case 5:
        exchange(bytes, size);
        return size;
    case 6:
        memset(bytes + size, (int)draw(256), 64);
        return size + 1 + draw(64);
    default:
        overwrite(bytes, size, identity_at, sizeof(struct kitsune_identity));
        write_checksum(bytes, size);
        return size;
    }
}

/* Returns 0 for a mutation that was accepted and should not have been. */
static int try(size_t kind) {
    unsigned char *roomy = malloc(whole_size + 64), *bytes;
    struct kitsune__running release;
    struct kitsune__problem problem = {0};
    enum kitsune__acceptance acceptance;
    size_t size;

    memcpy(roomy, whole, whole_size);
    size = damage(roomy, whole_size, kind);
    if (size == whole_size && memcmp(roomy, whole, size) == 0)
        return free(roomy), try(kind);
    bytes = malloc(size ? size : 1);
    memcpy(bytes, roomy, size);
    acceptance = kitsune__check_image(bytes, size, &running, &release, &problem);
    counts[kind][acceptance == KITSUNE__RELEASE_REFUSED ? problem.code : 0]++;
    free(roomy);
    free(bytes);
    return acceptance == KITSUNE__RELEASE_REFUSED || kind == KINDS - 1;
}

static void read_whole(const char *path) {
    FILE *file = fopen(path, "rb");

    fseek(file, 0, SEEK_END);
    whole_size = (size_t)ftell(file);
    whole = malloc(whole_size);
    rewind(file);
    if (fread(whole, 1, whole_size, file) != whole_size)
        exit(2);
    fclose(file);
    memcpy(&headers_at, whole + 40, 8); /* e_shoff */
}

static void find_identity(void) {
    unsigned long long magic = KITSUNE_MAGIC;

    identity_at = (size_t)((unsigned char *)memmem(whole, whole_size, &magic, 8) - whole);
}

int main(int count, char **arguments) {
    struct kitsune__problem problem;
    struct kitsune__running release;
    unsigned long tries;

    if (count != 5)
        return 2;
    read_whole(arguments[1]);
    find_identity();
    strcpy(running.program, "ledger");
    for (int i = 0; i < KITSUNE_BUILD_ID_SIZE; i++)
        sscanf(arguments[2] + 2 * i, "%2hhx", &running.build_id[i]);
    tries = strtoul(arguments[3], NULL, 10);
    state = strtoull(arguments[4], NULL, 10) * 2 + 1;
    if (kitsune__check_image(whole, whole_size, &running, &release, &problem) !=
        KITSUNE__RELEASE_ACCEPTED)
        return fprintf(stderr, "the release itself is refused: %s\n", problem.text), 1;
    for (unsigned long i = 0; i < tries; i++)
        if (!try(i % KINDS))
            return fprintf(stderr, "mutation %lu (%s) was accepted\n", i, names[i % KINDS]), 1;
    for (size_t kind = 0; kind < KINDS; kind++)
        for (unsigned code = 0; code < CODES; code++)
            if (counts[kind][code])
                printf("%s\tK%u\t%lu\n", names[kind], code, counts[kind][code]);
    return 0;
}
