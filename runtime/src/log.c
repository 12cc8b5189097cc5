#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LINE_SIZE 2048

static struct stat first_error_output;
static int has_error_output;
static char *log_path; /* NULL: standard error */

void kitsune__log_open(void) {
    const char *path = getenv("KITSUNE_LOG");
    has_error_output = fstat(STDERR_FILENO, &first_error_output) == 0;
    if (path != NULL && *path != '\0')
        log_path = strdup(path);
}

static int is_error_output_ours(void) {
    struct stat now;
    return has_error_output && fstat(STDERR_FILENO, &now) == 0 &&
           now.st_dev == first_error_output.st_dev && now.st_ino == first_error_output.st_ino;
}

static void write_line(const char *line, size_t length) {
    int descriptor = STDERR_FILENO;
    if (log_path != NULL)
        descriptor = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
    else if (!is_error_output_ours())
        return;
    if (descriptor < 0)
        return;
    if (write(descriptor, line, length) < 0) {
        /* A log that cannot be written must not disturb the program. */
    }
    if (log_path != NULL)
        close(descriptor);
}

void kitsune__logv(const char *format, va_list arguments) {
    static const char prefix[] = "kitsune: ";
    char line[LINE_SIZE];
    int saved = errno;
    memcpy(line, prefix, sizeof prefix);
    size_t at = sizeof prefix - 1, room = sizeof line - at - 1;
    int length = vsnprintf(line + at, room, format, arguments);
    if (length > 0) {
        at += (size_t)length < room ? (size_t)length : room - 1;
        if (line[at - 1] != '\n')
            line[at++] = '\n';
        write_line(line, at);
    }
    errno = saved;
}

void kitsune__log(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kitsune__logv(format, arguments);
    va_end(arguments);
}
