/*
 * What a release needs besides fitting, as said when the program was started: a signature by one of
 * some keys, and not to be revoked.
 *
 * Invariants:
 *  - Keys and the revocation list's path are read once, before the first release is loaded, into a page
 *    that cannot be written afterwards. No request changes them.
 *  - A release's signature is checked on the sealed copy, before anything in it is looked at.
 *  - A list of revoked releases that cannot be read or trusted revokes all that it could name.
 *  - Of such lists none is accepted that is older than one that this process has seen (the helper, for
 *    requests from outside).
 *
 * Context: kitsune__trust_* at the start, the others as check.h.
 */
#ifndef KITSUNE_TRUST_H
#define KITSUNE_TRUST_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "outcome.h"
#include "request.h"

#define KITSUNE__KEYS 8

/* Before any other. Returns 0, or -1 with the problem. */
int kitsune__trust_start(struct kitsune__problem *problem);
/* Adds the key in a file. Returns 0, or -1 with the problem. */
int kitsune__trust_add_key(const char *path, struct kitsune__problem *problem);
/* Sets the list of revoked releases, which must be there: it is read at each check. Returns 0, or -1 with
 * the problem. */
int kitsune__trust_set_revocations(const char *path, struct kitsune__problem *problem);
/* Makes what was set unchangeable. */
void kitsune__trust_settle(void);

/* Whether the first release must pass checks too: a key or a revocation list is given. */
int kitsune__trust_is_asked(void);

/* Whether the bytes of the release at `path` are signed as they must be. Returns 0, or -1 with the
 * problem. */
int kitsune__trust_check_signature(const char *path, uid_t owner, const void *bytes, size_t size,
                                   struct kitsune__problem *problem);

/* Whether the release, or the one that it stands for, is revoked. Returns 0 if not, or -1 with the problem. */
int kitsune__trust_check_revocations(const struct kitsune__running *release, uid_t owner,
                                     struct kitsune__problem *problem);

#endif
