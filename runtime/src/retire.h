/*
 * Freeing the old version after the commit: its objects, then its image.
 *
 * Invariants:
 *  - Works in slices, each about `budget_ns` long, at update points and before blocking calls.
 *  - An old block is freed only if it is proven to be a whole block in use of the program's
 *    allocator (blocks.h). It is cleared first, so that its stale words keep no image alive.
 *  - An image is unloaded only if no word in the process points into it: a copy of the process (a
 *    raw clone without exit signal) looks through all writable memory in use, while the program runs
 *    on. Its destructors are taken out first: dlclose runs no code of it. An image that something
 *    points to stays mapped, its reason is kept, and later updates try again.
 *  - The retire's own references to images are disguised, so that no scan finds them.
 *
 * Context: one thread at a time outside a transaction, at an update point or before a blocking call
 * (never inside malloc).
 */
#ifndef KITSUNE_RETIRE_H
#define KITSUNE_RETIRE_H

#include <stddef.h>
#include <stdint.h>

#include "load.h"
#include "transform.h"

/*
 * Hands over what one update left behind: old objects (may be NULL) and the image that is no longer
 * current (NULL: none). Called right after the commit. Never fails: what cannot be done stays. What
 * an earlier update left behind and is not done yet comes first.
 */
void kitsune__retire_begin(struct kitsune__retired *objects, struct kitsune__image *image);

/* Does about one slice of work. Returns non-zero while work is left that time or a call can do (the
 * caller keeps KITSUNE__PENDING_RETIRE set). Safe to call at any time. */
int kitsune__retire_slice(uint64_t budget_ns);

/*
 * Starts the look through memory now, if that is what is to be done next. With other threads it is exact
 * only while they are parked, so that it starts nowhere else (`only_here` holds until the next call).
 */
void kitsune__retire_look(int only_here);

/* Does all the work that is left, waiting for the scan at most `limit_ns`. */
void kitsune__retire_finish(uint64_t limit_ns);
/* Of how many updates there is work left. */
uint32_t kitsune__retire_backlog(void);

/* Memory that the scan skips: bookkeeping of the launcher that may name old images but is never
 * followed, stacks that are given up. A range with the same start replaces the one before; an empty
 * one removes it. At most 16. */
void kitsune__retire_ignore(const void *start, const void *end);

/* In a child process after fork: forgets the scan; nothing is freed there. */
void kitsune__retire_drop_in_child(void);
/* The process ends: with it what it would still have freed. */
void kitsune__retire_end(void);

struct kitsune__retire_state {
    uint32_t images;       /* retired but still mapped */
    uint32_t unloaded;     /* so far */
    uint64_t blocks_freed; /* so far */
    uint64_t blocks_kept;  /* moved away from, but not proven to be whole blocks; so far */
};
void kitsune__retire_state(struct kitsune__retire_state *state);

/* Why a retired image is still mapped: "3 words point into it, first libc.so.6 .data 0x… -> …". Empty
 * if it is not retired or no scan has ended yet. */
void kitsune__retire_reason(const struct kitsune__image *image, char *reason, size_t size);

#endif
