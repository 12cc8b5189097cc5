/*
 * The mappings of the calling process, from /proc/self/maps. No allocation, no libc state but errno:
 * a copy of the process may use it too.
 */
#ifndef KITSUNE_MAPPINGS_H
#define KITSUNE_MAPPINGS_H

#include <stdint.h>

struct kitsune__mapping {
    uintptr_t start, end;
    char permissions[5]; /* "rw-p" */
    uint64_t inode;      /* 0: anonymous */
    const char *name; /* "" if it has none; valid during the call only, at most 255 bytes of it */
};

/* Calls `visit` for each mapping in the order of addresses. A non-zero result ends it and is
 * returned; -1 if the list cannot be read; 0 otherwise. */
int kitsune__mappings(int (*visit)(void *context, const struct kitsune__mapping *mapping),
                      void *context);

#endif
