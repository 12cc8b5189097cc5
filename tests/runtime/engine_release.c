/* A release for retire_steps.c: something of everything that can keep an image in memory. */
#include "kitsune_abi.h"

extern const uint8_t __ehdr_start[] __attribute__((visibility("hidden")));
extern const uint8_t _end[] __attribute__((visibility("hidden")));

int *destroyed; /* where the destructor counts */
static long number = 1;
static __thread const char *text_of_thread;
static const char *const text = "a text of this version";

static void callback(int signal) {
    number += signal;
}

__attribute__((destructor)) static void destroy(void) {
    if (destroyed)
        ++*destroyed;
}

const char *release_text(void) {
    text_of_thread = text; /* thread-local memory that points into the image */
    return text_of_thread;
}
void (*release_callback(void))(int) {
    return callback;
}

static const struct kitsune_symbol symbols[] = {
    {"number", &number, sizeof number, KITSUNE_SYMBOL_VARIABLE, 0},
    {"release.c/callback", (const void *)callback, 0, KITSUNE_SYMBOL_FUNCTION, 0},
};
static const struct kitsune_identity identity
    __attribute__((section(KITSUNE_IDENTITY_SECTION), used)) = {
        .magic = KITSUNE_MAGIC, .abi = KITSUNE_ABI, .size = sizeof identity, .program = "retire"};
const struct kitsune_release kitsune_release = {.abi = KITSUNE_ABI,
                                                .size = sizeof kitsune_release,
                                                .identity = &identity,
                                                .symbols = symbols,
                                                .symbols_end = symbols + 2,
                                                .image_start = __ehdr_start,
                                                .image_end = _end};
