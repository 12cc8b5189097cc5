#define _GNU_SOURCE
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 6144
#define MESSAGE_SIZE 2048
#define JOURNAL "journal"
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

enum form { TEXT, KEYS, JSON, FIELDS };

static struct stat first_error_output;
static int has_error_output;
static char *log_path; /* NULL: standard error, or the journal */
static char *journal_socket;
static enum form form;
static char program[64] = "kitsune";

static enum form form_of(const char *name) {
    if (name != NULL && strcmp(name, "json") == 0)
        return JSON;
    return name != NULL && strcmp(name, "keys") == 0 ? KEYS : TEXT;
}

void kitsune__log_open(void) {
    const char *path = getenv("KITSUNE_LOG");
    size_t length = sizeof JOURNAL - 1;
    has_error_output = fstat(STDERR_FILENO, &first_error_output) == 0;
    form = form_of(getenv("KITSUNE_LOG_FORMAT"));
    if (path == NULL || *path == '\0')
        return;
    if (strncmp(path, JOURNAL, length) == 0 && (path[length] == '\0' || path[length] == ':')) {
        journal_socket = strdup(path[length] == ':' ? path + length + 1 : JOURNAL_SOCKET);
        form = FIELDS;
    } else {
        log_path = strdup(path);
    }
}

void kitsune__log_program(const char *name) {
    snprintf(program, sizeof program, "%s", name);
}

/* ---- where it goes --------------------------------------------------------------------------- */

static int is_error_output_ours(void) {
    struct stat now;
    return has_error_output && fstat(STDERR_FILENO, &now) == 0 &&
           now.st_dev == first_error_output.st_dev && now.st_ino == first_error_output.st_ino;
}

/* A journal that is not there, or has no room, gets nothing: the program does not wait for it. */
static void send_entry(const char *entry, size_t length) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(journal_socket);
    int descriptor = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return;
    if (size < sizeof address.sun_path) {
        memcpy(address.sun_path, journal_socket, size);
        sendto(descriptor, entry, length, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
               sizeof address);
    }
    close(descriptor);
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

/* ---- what it is ------------------------------------------------------------------------------ */

struct line {
    char text[LINE_SIZE];
    size_t used;
};

/* The last bytes are kept for the line's end. */
static void put(struct line *line, const char *text, size_t length) {
    size_t room = sizeof line->text - 4 - line->used;
    if (length > room)
        length = room;
    memcpy(line->text + line->used, text, length);
    line->used += length;
}

static void put_text(struct line *line, const char *text) {
    put(line, text, strlen(text));
}

/* In quotes, as JSON has them; what is no ASCII goes through as it is. */
static void put_quoted(struct line *line, const char *text) {
    char escape[8];
    put(line, "\"", 1);
    for (; *text != '\0'; text++) {
        if (*text != '"' && *text != '\\' && (unsigned char)*text >= 0x20) {
            put(line, text, 1);
            continue;
        }
        snprintf(escape, sizeof escape, "\\u%04x", (unsigned char)*text);
        put_text(line, escape);
    }
    put(line, "\"", 1);
}

static void put_key(struct line *line, const char *key) {
    static const char before[] = "KITSUNE_";
    if (form == JSON) {
        put_text(line, line->used > 1 ? ", " : "");
        put_quoted(line, key);
        put(line, ": ", 2);
        return;
    }
    if (form == KEYS)
        put_text(line, line->used > 0 ? " " : "");
    else
        put_text(line, before);
    for (; *key != '\0'; key++)
        put(line, &(char){form == FIELDS && *key >= 'a' ? (char)(*key - 32) : *key}, 1);
    put(line, "=", 1);
}

/* Ends a value of the journal's: it is ended by the line's end, so it has none. */
static void put_value(struct line *line, const char *text) {
    if (form != FIELDS) {
        put_quoted(line, text);
        return;
    }
    for (; *text != '\0'; text++)
        put(line, *text == '\n' ? " " : text, 1);
    put(line, "\n", 1);
}

static void put_number(struct line *line, const char *key, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, form == FIELDS ? "%lu\n" : "%lu", (unsigned long)number);
    put_key(line, key);
    put_text(line, digits);
}

static void put_fact(struct line *line, const struct kitsune__fact *fact) {
    if (fact->text == NULL) {
        put_number(line, fact->key, fact->number);
        return;
    }
    put_key(line, fact->key);
    put_value(line, fact->text);
}

/* The fields that every entry of the journal has, by the names that it gives them. */
static void put_head_of_entry(struct line *line, const struct kitsune__event *event,
                              const char *message) {
    char number[32];
    put_text(line, "MESSAGE=");
    put_value(line, message);
    snprintf(number, sizeof number, "PRIORITY=%d\n", event->priority);
    put_text(line, number);
    put_text(line, "SYSLOG_IDENTIFIER=");
    put_value(line, program);
}

static void put_head_of_line(struct line *line, const struct kitsune__event *event,
                             const char *message) {
    struct timespec now;
    char number[32];
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(number, sizeof number, "%lld.%03ld", (long long)now.tv_sec, now.tv_nsec / 1000000);
    put_key(line, "time");
    put_text(line, number);
    put_number(line, "priority", event->priority);
    put_number(line, "pid", (uint64_t)getpid());
    put_fact(line, &(struct kitsune__fact){"program", program, 0});
    put_fact(line, &(struct kitsune__fact){"message", message, 0});
}

static void put_event(struct line *line, const struct kitsune__event *event, const char *message) {
    if (form == JSON)
        put(line, "{", 1);
    if (form == FIELDS)
        put_head_of_entry(line, event, message);
    else
        put_head_of_line(line, event, message);
    put_fact(line, &(struct kitsune__fact){"event", event->name, 0});
    for (size_t i = 0; i < event->count; i++)
        put_fact(line, &event->facts[i]);
    if (form == JSON)
        line->text[line->used++] = '}';
}

static void tell(const struct kitsune__event *event, const char *message) {
    struct line line = {.used = 0};
    if (form == TEXT) {
        put_text(&line, "kitsune: ");
        put_text(&line, message);
    } else {
        put_event(&line, event, message);
    }
    if (form == FIELDS) {
        send_entry(line.text, line.used);
        return;
    }
    line.text[line.used++] = '\n';
    write_line(line.text, line.used);
}

static void tellv(const struct kitsune__event *event, const char *format, va_list arguments) {
    char message[MESSAGE_SIZE];
    int saved = errno;
    if (vsnprintf(message, sizeof message, format, arguments) > 0) {
        size_t length = strlen(message);
        if (message[length - 1] == '\n')
            message[length - 1] = '\0';
        tell(event, message);
    }
    errno = saved;
}

void kitsune__logv(const char *format, va_list arguments) {
    tellv(&(struct kitsune__event){"note", KITSUNE__NOTICE, NULL, 0}, format, arguments);
}

void kitsune__log(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    kitsune__logv(format, arguments);
    va_end(arguments);
}

void kitsune__log_event(const struct kitsune__event *event, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    tellv(event, format, arguments);
    va_end(arguments);
}
