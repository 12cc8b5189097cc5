/*
 * How long a transaction may take: as a whole, and each of its phases. As a word, in a request or in
 * $KITSUNE_LIMIT_MS: milliseconds of the whole, and of phases, "60000,load=500,transform=2000". 0 is the
 * default: a minute for the whole, none for a phase.
 *
 * Plain data and functions without state, libc or allocation: any context.
 */
#ifndef KITSUNE_TIME_LIMITS_H
#define KITSUNE_TIME_LIMITS_H

#include <stdint.h>

/* X(NAME, word); kitsune_tool/limits.py has the words too, and a test compares them. */
#define KITSUNE_LIMITED(X)                                                                         \
    X(SNAPSHOT, "snapshot")   /* to copy the process */                                            \
    X(LOAD, "load")           /* dlopen, constructors, _kitsune_prestart_xform */                  \
    X(START, "start")         /* the new main and threads, but for what is transformed */          \
    X(TRANSFORM, "transform") /* the state, and _kitsune_mainupdate_xform */

enum kitsune__limited {
#define KITSUNE__LIMITED_ENUM(name, word) KITSUNE__LIMITED_##name,
    KITSUNE_LIMITED(KITSUNE__LIMITED_ENUM)
#undef KITSUNE__LIMITED_ENUM
        KITSUNE__LIMITED_COUNT
};

struct kitsune__limits {
    uint64_t total_ms;
    uint64_t phase_ms[KITSUNE__LIMITED_COUNT];
};

#define KITSUNE__LONGEST_MS 86400000u

/* The word of a phase. */
const char *kitsune__limits_word(enum kitsune__limited which);

/* A number of milliseconds up to a day, until `end` (NULL: the text's). Returns 0 if it is none. */
int kitsune__limits_read_ms(const char *text, const char *end, uint64_t *ms);

/* Reads a word as above. Returns 0 if it is none; then what it says is not to be used. */
int kitsune__limits_read(const char *word, struct kitsune__limits *limits);

/* What is 0 in `limits` becomes what `others` say. */
void kitsune__limits_complete(struct kitsune__limits *limits, const struct kitsune__limits *others);

#endif
