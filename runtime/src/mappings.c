/* The process's mappings (mappings.h). */
#include "mappings.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "platform.h"

#define LINE_MAX_BYTES 4352 /* longer than any path that the kernel prints */

static uint64_t read_number(const char **text, unsigned base) {
    uint64_t value = 0;
    for (;; (*text)++) {
        unsigned digit = (unsigned)**text - '0';
        if (digit > 9)
            digit = (unsigned)(**text | 0x20) - 'a' + 10;
        if (digit >= base)
            return value;
        value = value * base + digit;
    }
}

/* "start-end perms offset major:minor inode   name" */
static void read_line(const char *text, struct kitsune__mapping *mapping) {
    mapping->start = read_number(&text, 16);
    text += *text == '-';
    mapping->end = read_number(&text, 16);
    text += *text == ' ';
    for (int i = 0; i < 4 && *text; i++)
        mapping->permissions[i] = *text++;
    mapping->permissions[4] = '\0';
    for (int field = 0; field < 2; field++) {
        text += *text == ' ';
        while (*text && *text != ' ')
            text++;
    }
    text += *text == ' ';
    mapping->inode = read_number(&text, 10);
    while (*text == ' ')
        text++;
    mapping->name = text;
}

int kitsune__mappings(int (*visit)(void *context, const struct kitsune__mapping *mapping),
                      void *context) {
    char buffer[LINE_MAX_BYTES];
    size_t filled = 0;
    int file = kitsune__open_proc("self/maps", O_RDONLY | O_CLOEXEC), result = 0;
    if (file < 0)
        return -1;
    for (;;) {
        long got = KITSUNE__SYSCALL(SYS_read, file, buffer + filled, sizeof buffer - filled);
        if (got <= 0) {
            result = got < 0 ? -1 : 0;
            break;
        }
        filled += (size_t)got;
        char *line = buffer, *end;
        while (!result && (end = memchr(line, '\n', filled - (size_t)(line - buffer)))) {
            struct kitsune__mapping mapping;
            *end = '\0';
            read_line(line, &mapping);
            result = visit(context, &mapping);
            line = end + 1;
        }
        filled -= (size_t)(line - buffer);
        memmove(buffer, line, filled);
        if (result || filled == sizeof buffer)
            break;
    }
    KITSUNE__SYSCALL(SYS_close, file);
    return result;
}
