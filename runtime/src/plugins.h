/*
 * Other loaded objects that the dynamic linker has bound to the running version: plugins, which look up
 * in the program what its release exports. They stay loaded when the program is updated, with their
 * state; what they have of the old version's addresses must become the new version's.
 *
 * Invariants:
 *  - A release that exports more than kitsune_release is in the linker's global scope, and of all
 *    releases only the newest can be found there: the exports of the one before are blanked out when
 *    the next is loaded.
 *  - All writes happen inside the transaction. They need nothing to be undone but memory.
 *
 * Program's thread, inside the transaction, except where said.
 */
#ifndef KITSUNE_PLUGINS_H
#define KITSUNE_PLUGINS_H

#include "load.h"

/* Non-zero if the image exports anything for plugins. At any time. */
int kitsune__plugins_has_exports(const struct kitsune__image *image);

/* What the new version has for an address of the old one that a symbol begins at; NULL: nothing. */
typedef const void *kitsune__plugins_successor(const void *address);

/*
 * Points what plugins hold of the old image's addresses to the new image: what the linker bound, and
 * words of their static data. Returns 0, or a code with `reason`: something is used that the new
 * version does not have. With `is_last` also for words that lead somewhere into the old image's code or
 * variables; before the new version's main has run it may still replace those.
 */
uint32_t kitsune__plugins_follow(const struct kitsune__image *old, const struct kitsune__image *new,
                                 kitsune__plugins_successor *successor, int is_last, char *reason,
                                 size_t size);

#endif
