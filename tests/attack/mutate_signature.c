/*
 * Damages a signature in many ways and has the launcher's own code check each: under sanitizers, in
 * memory that ends where the text ends. Only one that says the same is accepted.
 *
 * usage: mutate_signature FILE PUBLIC_KEY COUNT SEED; tells how many were refused, by code.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "signature.h"

#define CODES 400
#define ROOM 128

static unsigned long long state;

/* xorshift64*: the same numbers everywhere. */
static size_t draw(size_t limit) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (size_t)(state * 2685821657736338717ull >> 16) % limit;
}

static char *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *text = calloc(1, 1 << 20);

    if (!file)
        exit(2);
    *size = fread(text, 1, (1 << 20) - 1, file);
    fclose(file);
    return text;
}

/* What of a signature's text counts: all but the first line, and how lines end. */
static void reduce(const char *text, char *to) {
    const char *start = to;

    for (text += strcspn(text, "\n"); *text; text++)
        if (!(text[0] == '\r' && text[1] == '\n'))
            *to++ = *text;
    *to = '\0';
    while (to > start && (to[-1] == '\n' || to[-1] == '\r'))
        *--to = '\0';
}

/* Changes a text that has room for ROOM more bytes. */
static void damage(char *text) {
    size_t length = strlen(text), at = draw(length), count = 1 + draw(ROOM / 2);
    static const char kinds[] = "AZaz09+/= \r\n\t";

    switch (draw(5)) {
    case 0:
        text[at] = (char)(text[at] ^ (char)(1u << draw(8)));
        break;
    case 1:
        text[at] = kinds[draw(sizeof kinds - 1)];
        break;
    case 2:
        text[at] = '\0';
        break;
    case 3:
        count = count < length - at ? count : length - at;
        memmove(text + at, text + at + count, length - at - count + 1);
        break;
    default:
        memmove(text + at + count, text + at, length - at + 1);
        memset(text + at, kinds[draw(sizeof kinds - 1)], count);
    }
}

int main(int count, char **arguments) {
    static unsigned long counts[CODES];
    struct kitsune__problem problem = {0};
    struct kitsune__key key;
    static char *bytes, *signature, *public_key;
    char beside[4096], ours[4096 + ROOM], theirs[4096 + ROOM];
    size_t size, length;

    if (count != 5)
        return 2;
    snprintf(beside, sizeof beside, "%s.minisig", arguments[1]);
    bytes = read_whole(arguments[1], &size);
    signature = read_whole(beside, &length);
    public_key = read_whole(arguments[2], &length);
    state = strtoull(arguments[4], NULL, 10) * 2 + 1;
    if (kitsune__signature_start(&problem) < 0 ||
        kitsune__signature_read_key(public_key, &key, &problem) < 0 ||
        kitsune__signature_check(bytes, size, signature, &key, 1, "it", &problem) < 0)
        return fprintf(stderr, "the signature itself is refused: %s\n", problem.text), 1;
    reduce(signature, ours);
    for (unsigned long tries = strtoul(arguments[3], NULL, 10); tries > 0; tries--) {
        char roomy[4096], *exact;
        int refused;

        strcpy(roomy, signature);
        damage(roomy);
        exact = strdup(roomy);
        refused = kitsune__signature_check(bytes, size, exact, &key, 1, "it", &problem) < 0;
        reduce(exact, theirs);
        if (!refused && strcmp(ours, theirs) != 0)
            return fprintf(stderr, "accepted:\n%s\n", exact), 1;
        counts[refused ? problem.code : 0]++;
        free(exact);
    }
    for (unsigned code = 0; code < CODES; code++)
        if (counts[code])
            printf("K%u\t%lu\n", code, counts[code]);
    return 0;
}
