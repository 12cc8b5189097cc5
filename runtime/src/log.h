/*
 * The launcher's log: lines on standard error, or in the file that $KITSUNE_LOG names (opened for
 * each line, so that it follows renames and costs no descriptor).
 *
 * Invariants:
 *  - Nothing is written to descriptor 2 once it is another file than at the start: programs close it,
 *    and a connection may get the number.
 *
 * Context: the program's thread, outside signal handlers; uses libc's formatting. errno is kept.
 */
#ifndef KITSUNE_LOG_H
#define KITSUNE_LOG_H

#include <stdarg.h>

/* Once, before the first release is loaded. */
void kitsune__log_open(void);
/* One line; its end is added. */
void kitsune__log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kitsune__logv(const char *format, va_list arguments);

#endif
