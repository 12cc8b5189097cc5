/*
 * Files whose content is trusted because of who can write them: a release, its signature, a public key,
 * the list of revoked releases.
 *
 * Context: the helper, or the program outside signal handlers. No allocator of libc is used.
 */
#ifndef KITSUNE_SAFE_FILE_H
#define KITSUNE_SAFE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "outcome.h"

/*
 * Opens for reading what `path` names itself: a regular file of root or `owner` that others cannot
 * write, of at most `limit` bytes. `what` begins the texts ("the release"). Returns the descriptor, or
 * -1 with KITSUNE__NO_FILE (and errno) or KITSUNE__UNSAFE_FILE.
 */
int kitsune__open_safely(const char *path, const char *what, uid_t owner, long long limit,
                         struct kitsune__problem *problem);

/* Reads such a file, which must be shorter than `size`, and puts a zero byte behind it. Returns its
 * length, or -1 as above. */
ssize_t kitsune__read_safely(const char *path, const char *what, uid_t owner, char *text,
                             size_t size, struct kitsune__problem *problem);

#endif
