/*
 * A line of JSON, written from front to back into memory of a fixed size: what the helper process answers.
 * What does not fit is cut off. No allocation, nothing of libc's state.
 */
#ifndef KITSUNE_ANSWER_H
#define KITSUNE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#define KITSUNE__ANSWER_SIZE 524288

struct kitsune__answer {
    size_t used;
    char text[KITSUNE__ANSWER_SIZE];
};

/* Starts a new object, whose first member tells what it is about; kitsune__answer_end closes it, with the
 * end of the line. */
void kitsune__answer_begin(struct kitsune__answer *answer, const char *event);
void kitsune__answer_end(struct kitsune__answer *answer);

/* Members of the object that is open. Text is read up to its end or `limit` bytes. */
void kitsune__answer_text(struct kitsune__answer *answer, const char *name, const char *text,
                          size_t limit);
#define KITSUNE__ANSWER_ARRAY(answer, name, array)                                                 \
    kitsune__answer_text(answer, name, array, sizeof(array))
void kitsune__answer_number(struct kitsune__answer *answer, const char *name, uint64_t number);
void kitsune__answer_hex(struct kitsune__answer *answer, const char *name, const uint8_t *bytes,
                         size_t size);
/* "code": "K…" */
void kitsune__answer_code(struct kitsune__answer *answer, uint32_t code);

/* For what has more in it: a member's name, then JSON as it is; and the start of an object in a list. */
void kitsune__answer_name(struct kitsune__answer *answer, const char *name);
void kitsune__answer_put(struct kitsune__answer *answer, const char *json);
void kitsune__answer_item(struct kitsune__answer *answer);

#endif
