/*
 * The launcher's log: lines on standard error, in the file that $KITSUNE_LOG names (opened for each
 * line, so that it follows renames and costs no descriptor), or entries of systemd's journal
 * (KITSUNE_LOG=journal, or journal:SOCKET). $KITSUNE_LOG_FORMAT makes lines `text`, `keys`
 * (key=value) or `json`; the journal gets fields in any case.
 *
 * Invariants:
 *  - Nothing is written to descriptor 2 once it is another file than at the start: programs close it,
 *    and a connection may get the number.
 *  - A log that cannot be written never disturbs or delays the program.
 *
 * Context: the program's thread, outside signal handlers; uses libc's formatting. errno is kept.
 */
#ifndef KITSUNE_LOG_H
#define KITSUNE_LOG_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* As syslog(3) has them. */
enum kitsune__priority { KITSUNE__WARNING = 4, KITSUNE__NOTICE = 5, KITSUNE__INFORMATION = 6 };

/* A fact beside the text. `key` is of small letters and '_'; without a text it is the number. */
struct kitsune__fact {
    const char *key, *text;
    uint64_t number;
};

struct kitsune__event {
    const char *name; /* "updated" */
    enum kitsune__priority priority;
    const struct kitsune__fact *facts;
    size_t count;
};

/* Once, before the first release is loaded. */
void kitsune__log_open(void);
/* The program that entries are of, from now on. */
void kitsune__log_program(const char *name);
/* One line; its end is added. The first is of an event "note". */
void kitsune__log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kitsune__logv(const char *format, va_list arguments);
void kitsune__log_event(const struct kitsune__event *event, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
