/*
 * What can be checked of a release without loading it, and the private copy that is checked.
 *
 * Invariants:
 *  - Every check is made on the copy, which is sealed first: nobody can change what was checked.
 *  - Nothing that the file says is trusted: every offset and size is compared with the copy's length
 *    before it is used.
 *
 * Context: the helper, or the program outside signal handlers. No allocator of libc is used.
 */
#ifndef KITSUNE_CHECK_H
#define KITSUNE_CHECK_H

#include <sys/types.h>

#include "outcome.h"
#include "request.h"

/* Releases beyond this are refused. */
#define KITSUNE__RELEASE_SIZE_LIMIT (1ll << 30)

enum kitsune__acceptance {
    KITSUNE__RELEASE_ACCEPTED,
    KITSUNE__RELEASE_IS_RUNNING, /* the very build that runs, or one of the same program */
    KITSUNE__RELEASE_REFUSED
};

/*
 * Copies the release at `path` into a sealed memory file and checks it: a regular file that belongs to
 * root or `owner` and is not writable by others, a shared object of this machine with an identity, of
 * this interface, and, if `running` is given, of its program and with its build-id among the parents.
 * What trust.h asks for comes first.
 *
 * On KITSUNE__RELEASE_ACCEPTED `*fd` is the copy, close-on-exec, the caller's; else it is -1. `release`
 * is filled unless the answer is KITSUNE__RELEASE_REFUSED; then `problem` is.
 */
enum kitsune__acceptance kitsune__check_release(const char *path, uid_t owner,
                                                const struct kitsune__running *running,
                                                struct kitsune__running *release, int *fd,
                                                struct kitsune__problem *problem);

/* The same checks on bytes in memory, without those of the file. */
enum kitsune__acceptance kitsune__check_image(const void *image, size_t size,
                                              const struct kitsune__running *running,
                                              struct kitsune__running *release,
                                              struct kitsune__problem *problem);

/* Non-zero if a release of this identity can follow what is running. */
int kitsune__check_follows(const struct kitsune_identity *identity,
                           const struct kitsune__running *running);
/* Fills in `version_id` when `build_id` is. */
void kitsune__check_name_version(struct kitsune__running *release,
                                 const struct kitsune_identity *identity);

/* Writes a path to `path` under which libc loads `fd` and which it has not seen before in this process:
 * libc takes two objects of equal path for one, though the descriptor's number is another file by now. */
void kitsune__check_load_path(int fd, char *path, size_t path_size);

#endif
