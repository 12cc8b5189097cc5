#define _GNU_SOURCE
#include "time_limits.h"

#include <stddef.h>

static const char *const words[] = {
#define KITSUNE__LIMITED_WORD(name, word) word,
    KITSUNE_LIMITED(KITSUNE__LIMITED_WORD)
#undef KITSUNE__LIMITED_WORD
};

const char *kitsune__limits_word(enum kitsune__limited which) {
    return words[which];
}

int kitsune__limits_read_ms(const char *text, const char *end, uint64_t *ms) {
    uint64_t number = 0;
    const char *at = text;
    for (; end ? at < end : *at != '\0'; at++) {
        if (*at < '0' || *at > '9' || number > KITSUNE__LONGEST_MS)
            return 0;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ms = number;
    return at != text && number <= KITSUNE__LONGEST_MS;
}

/* The end of the part that begins at `text`: its comma, or the end of all. */
static const char *end_of(const char *text) {
    while (*text != '\0' && *text != ',')
        text++;
    return text;
}

/* What follows "word=", if the text begins with that; else NULL. */
static const char *value_of(const char *text, const char *word) {
    while (*word != '\0' && *text == *word)
        text++, word++;
    return *word == '\0' && *text == '=' ? text + 1 : NULL;
}

static int read_phase(const char *text, const char *end, struct kitsune__limits *limits) {
    for (int which = 0; which < KITSUNE__LIMITED_COUNT; which++) {
        const char *value = value_of(text, words[which]);
        if (value != NULL)
            return kitsune__limits_read_ms(value, end, &limits->phase_ms[which]);
    }
    return 0;
}

int kitsune__limits_read(const char *word, struct kitsune__limits *limits) {
    const char *end = end_of(word);
    if (!kitsune__limits_read_ms(word, end, &limits->total_ms))
        return 0;
    while (*end == ',') {
        const char *part = end + 1;
        end = end_of(part);
        if (!read_phase(part, end, limits))
            return 0;
    }
    return 1;
}

void kitsune__limits_complete(struct kitsune__limits *limits,
                              const struct kitsune__limits *others) {
    if (limits->total_ms == 0)
        limits->total_ms = others->total_ms;
    for (int which = 0; which < KITSUNE__LIMITED_COUNT; which++)
        if (limits->phase_ms[which] == 0)
            limits->phase_ms[which] = others->phase_ms[which];
}
