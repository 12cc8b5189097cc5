/*
 * The launcher's log: lines on standard error, or in the file that $KITSUNE_LOG names (opened for
 * each line, so that it follows renames and costs no descriptor). Formats with libc; not for signal
 * handlers and not for the abort path.
 */
#ifndef KITSUNE_LOG_H
#define KITSUNE_LOG_H

#include <stdarg.h>

void kitsune__log(const char *format, ...) __attribute__((format(printf, 1, 2)));
void kitsune__logv(const char *format, va_list arguments);

#endif
