#define _GNU_SOURCE
#include "answer.h"

#include <string.h>

#include "platform.h"

/* What does not fit is cut off; the last byte is kept for the end of line. */
static void put(struct kitsune__answer *answer, const char *text, size_t length) {
    size_t room = sizeof answer->text - 1 - answer->used;

    if (length > room)
        length = room;
    memcpy(answer->text + answer->used, text, length);
    answer->used += length;
}

void kitsune__answer_put(struct kitsune__answer *answer, const char *text) {
    put(answer, text, strlen(text));
}

/* Length of the well-formed UTF-8 sequence of several bytes at `text`, or 0. */
static size_t sequence_length(const unsigned char *text, size_t left) {
    size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;

    if (text[0] < 0xc2 || text[0] > 0xf4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void put_escape(struct kitsune__answer *answer, unsigned code) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\',
                    'u',
                    digits[code >> 12 & 15],
                    digits[code >> 8 & 15],
                    digits[code >> 4 & 15],
                    digits[code & 15]};

    put(answer, text, sizeof text);
}

/* A JSON string. Bytes that are no UTF-8 become U+DC80 and up, as Python's surrogateescape has them. */
static void put_string(struct kitsune__answer *answer, const char *text, size_t limit) {
    size_t left = strnlen(text, limit);
    const unsigned char *at = (const unsigned char *)text;

    put(answer, "\"", 1);
    while (left) {
        size_t length = *at < 0x80 ? 1 : sequence_length(at, left);

        if (*at < 0x20 || *at == 0x7f || *at == '"' || *at == '\\')
            put_escape(answer, *at);
        else if (length == 0)
            put_escape(answer, 0xdc00u + *at);
        else
            put(answer, (const char *)at, length);
        length += length == 0;
        at += length;
        left -= length;
    }
    put(answer, "\"", 1);
}

void kitsune__answer_name(struct kitsune__answer *answer, const char *name) {
    kitsune__answer_put(answer, answer->text[answer->used - 1] == '{' ? "\"" : ", \"");
    kitsune__answer_put(answer, name);
    kitsune__answer_put(answer, "\": ");
}

void kitsune__answer_text(struct kitsune__answer *answer, const char *name, const char *text,
                          size_t limit) {
    kitsune__answer_name(answer, name);
    put_string(answer, text, limit);
}

void kitsune__answer_item(struct kitsune__answer *answer) {
    kitsune__answer_put(answer, answer->text[answer->used - 1] == '[' ? "{" : ", {");
}

void kitsune__answer_number(struct kitsune__answer *answer, const char *name, uint64_t number) {
    char digits[24];

    kitsune__format(digits, sizeof digits, "%lu", (unsigned long)number);
    kitsune__answer_name(answer, name);
    kitsune__answer_put(answer, digits);
}

void kitsune__answer_code(struct kitsune__answer *answer, uint32_t code) {
    char text[16];

    kitsune__format(text, sizeof text, "K%u", code);
    kitsune__answer_text(answer, "code", text, sizeof text);
}

void kitsune__answer_hex(struct kitsune__answer *answer, const char *name, const uint8_t *bytes,
                         size_t size) {
    static const char digits[] = "0123456789abcdef";

    kitsune__answer_name(answer, name);
    put(answer, "\"", 1);
    for (size_t i = 0; i < size; i++)
        put(answer, (char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
    put(answer, "\"", 1);
}

void kitsune__answer_begin(struct kitsune__answer *answer, const char *event) {
    answer->used = 0;
    kitsune__answer_put(answer, "{");
    kitsune__answer_text(answer, "event", event, 64);
}

void kitsune__answer_end(struct kitsune__answer *answer) {
    kitsune__answer_put(answer, "}");
    answer->text[answer->used++] = '\n';
}
