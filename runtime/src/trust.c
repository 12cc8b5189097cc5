#define _GNU_SOURCE
#include "trust.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "platform.h"
#include "safe_file.h"
#include "signature.h"

#define FILE_SIZE 4096 /* of a key or a signature */
#define SUFFIX ".minisig"

struct trust {
    size_t key_count;
    struct kitsune__key keys[KITSUNE__KEYS];
};

static const struct trust none;
static const struct trust *trust = &none;
static struct trust *being_set; /* the same, until it is settled */

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

void kitsune__trust_settle(void) {
    mprotect(being_set, sizeof *being_set, PROT_READ);
    being_set = NULL;
}

int kitsune__trust_is_asked(void) {
    return trust->key_count > 0;
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
