#define _GNU_SOURCE
#include "trust.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kitsune_abi.h"
#include "platform.h"
#include "safe_file.h"
#include "signature.h"

#define FILE_SIZE 4096      /* of a key or a signature */
#define LIST_SIZE (1 << 20) /* of the revoked releases */
#define LIST "the list of revoked releases"
#define SUFFIX ".minisig"

struct trust {
    size_t key_count;
    struct kitsune__key keys[KITSUNE__KEYS];
    char revocations[PATH_MAX]; /* "": none */
};

static const struct trust none;
static const struct trust *trust = &none;
static struct trust *being_set; /* the same, until it is settled */

/* The highest serial number of a list that was accepted. Not shared with other processes: those that the
 * program forks may have fewer rights. */
static uint64_t seen;

int kitsune__trust_start(struct kitsune__problem *problem) {
    void *page =
        mmap(NULL, sizeof *being_set, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (page == MAP_FAILED)
        return kitsune__refuse(problem, KITSUNE__NO_MEMORY, "no memory for the keys");
    trust = being_set = page;
    return 0;
}

int kitsune__trust_add_key(const char *path, struct kitsune__problem *problem) {
    char text[FILE_SIZE];

    if (being_set->key_count == KITSUNE__KEYS)
        return kitsune__refuse(problem, KITSUNE__NO_KEY, "more than %d public keys", KITSUNE__KEYS);
    if (kitsune__read_safely(path, "the public key", geteuid(), text, sizeof text, problem) < 0) {
        problem->code = KITSUNE__NO_KEY;
        return -1;
    }
    if (kitsune__signature_start(problem) < 0 ||
        kitsune__signature_read_key(text, &being_set->keys[being_set->key_count], problem) < 0)
        return -1;
    being_set->key_count++;
    return 0;
}

int kitsune__trust_set_revocations(const char *path, struct kitsune__problem *problem) {
    if (realpath(path, being_set->revocations))
        return 0;
    return kitsune__refuse(problem, KITSUNE__NO_REVOCATIONS, LIST " cannot be opened: %s",
                           strerrordesc_np(errno));
}

void kitsune__trust_settle(void) {
    mprotect(being_set, sizeof *being_set, PROT_READ);
    being_set = NULL;
}

int kitsune__trust_is_asked(void) {
    return trust->key_count > 0 || trust->revocations[0];
}

/* Checks bytes against the signature beside `path`, if there are keys. */
static int check_signature(const char *path, const char *what, uid_t owner, const void *bytes,
                           size_t size, struct kitsune__problem *problem) {
    char beside[PATH_MAX + sizeof SUFFIX], text[FILE_SIZE];

    if (trust->key_count == 0)
        return 0;
    if (strlen(path) >= PATH_MAX)
        return kitsune__refuse(problem, KITSUNE__NO_FILE, "the path of %s is too long", what);
    kitsune__format(beside, sizeof beside, "%s" SUFFIX, path);
    if (kitsune__read_safely(beside, "the signature", owner, text, sizeof text, problem) < 0) {
        if (problem->code == KITSUNE__NO_FILE && errno == ENOENT)
            return kitsune__refuse(problem, KITSUNE__UNSIGNED,
                                   "%s is not signed: there is no %s; sign it with minisign -S",
                                   what, beside);
        return -1;
    }
    return kitsune__signature_check(bytes, size, text, trust->keys, trust->key_count, what,
                                    problem);
}

int kitsune__trust_check_signature(const char *path, uid_t owner, const void *bytes, size_t size,
                                   struct kitsune__problem *problem) {
    return check_signature(path, "the release", owner, bytes, size, problem);
}

/* ---- revoked releases ---------------------------------------------------------------------- */

/* Where in the list we are. */
struct list {
    const char *at;
    unsigned line; /* number of the one at `at`, from 1 */
    uint64_t serial;
};

static int refuse_line(const struct list *list, struct kitsune__problem *problem) {
    return kitsune__refuse(problem, KITSUNE__NO_REVOCATIONS,
                           "line %u of %s is not understood; it is 'serial N', or a build-id of 40 "
                           "hexadecimal digits, or begins with '#'",
                           list->line, trust->revocations);
}

static int hex_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Reads a build-id that a space or the line's end follows; returns 0 if there is none. */
static int read_build_id(const char *at, uint8_t *build_id) {
    for (unsigned i = 0; i < KITSUNE_BUILD_ID_SIZE; i++) {
        int high = hex_value(at[2 * i]), low = high < 0 ? -1 : hex_value(at[2 * i + 1]);

        if (low < 0)
            return 0;
        build_id[i] = (uint8_t)(high << 4 | low);
    }
    return strchr(" \t\r\n", at[(size_t)2 * KITSUNE_BUILD_ID_SIZE]) != NULL;
}

/* Reads "serial N" and the end of the line; returns 0 if it is not there. */
static int read_serial(const char *at, uint64_t *serial) {
    static const char word[] = "serial ";
    uint64_t number = 0;

    if (strncmp(at, word, sizeof word - 1) != 0 || !at[sizeof word - 1])
        return 0;
    for (at += sizeof word - 1; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT64_MAX / 10 - 1)
            return 0;
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *serial = number;
    return number > 0 && strchr("\r\n", *at) != NULL;
}

/* Looks at one line: 1 if it revokes the release, 0 if not, -1 with the problem. */
static int look_at_line(struct list *list, const struct kitsune__running *release,
                        struct kitsune__problem *problem) {
    uint8_t revoked[KITSUNE_BUILD_ID_SIZE];

    if (strchr("#\r\n", *list->at)) /* also the text's end */
        return 0;
    if (!list->serial && read_serial(list->at, &list->serial))
        return 0;
    if (!list->serial || !read_build_id(list->at, revoked))
        return refuse_line(list, problem);
    return memcmp(revoked, release->build_id, sizeof revoked) == 0 ||
           memcmp(revoked, release->version_id, sizeof revoked) == 0;
}

/* Reads the whole list, so that a line that is not understood is not overlooked: returns the number of
 * the line that revokes the release, 0 if none does, -1 with the problem. */
static int look_into_list(struct list *list, const struct kitsune__running *release,
                          struct kitsune__problem *problem) {
    int found = 0;

    for (; *list->at; list->line++) {
        int here = look_at_line(list, release, problem);

        if (here < 0)
            return -1;
        if (here)
            found = (int)list->line;
        list->at += strcspn(list->at, "\n");
        list->at += *list->at == '\n';
    }
    if (list->serial)
        return found;
    return kitsune__refuse(problem, KITSUNE__NO_REVOCATIONS, "%s has no line 'serial N'",
                           trust->revocations);
}

/* A list that was replaced by an older one, which may lack what was revoked since, is refused. */
static int check_serial(uint64_t serial, struct kitsune__problem *problem) {
    if (serial >= seen) {
        seen = serial;
        return 0;
    }
    return kitsune__refuse(problem, KITSUNE__NO_REVOCATIONS,
                           "%s is older than it was: its serial number is %lu, and was %lu",
                           trust->revocations, (unsigned long)serial, (unsigned long)seen);
}

static int check_list(char *text, const struct kitsune__running *release, uid_t owner,
                      struct kitsune__problem *problem) {
    ssize_t size = kitsune__read_safely(trust->revocations, LIST, owner, text, LIST_SIZE, problem);
    struct list list = {text, 1, 0};
    int line;

    if (size < 0 ||
        check_signature(trust->revocations, LIST, owner, text, (size_t)size, problem) < 0) {
        problem->code = KITSUNE__NO_REVOCATIONS;
        return -1;
    }
    if (strlen(text) != (size_t)size)
        return kitsune__refuse(problem, KITSUNE__NO_REVOCATIONS, "%s is no text",
                               trust->revocations);
    line = look_into_list(&list, release, problem);
    if (line < 0 || check_serial(list.serial, problem) < 0)
        return -1;
    if (line == 0)
        return 0;
    return kitsune__refuse(problem, KITSUNE__REVOKED, "the release is revoked: line %d of %s", line,
                           trust->revocations);
}

int kitsune__trust_check_revocations(const struct kitsune__running *release, uid_t owner,
                                     struct kitsune__problem *problem) {
    char *text;
    int result;

    if (!trust->revocations[0])
        return 0;
    text = mmap(NULL, LIST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (text == MAP_FAILED)
        return kitsune__refuse(problem, KITSUNE__NO_MEMORY, "no memory to read " LIST);
    result = check_list(text, release, owner, problem);
    munmap(text, LIST_SIZE);
    return result;
}
