/*
 * The look through the process's memory before old objects are freed and old images unloaded. Done by
 * a copy of the process (a raw clone without exit signal), while the program runs on.
 *
 * Invariants:
 *  - The copy changes nothing outside its own memory and one shared mapping, has all signals blocked,
 *    no descriptors of the program, and dies with its parent.
 *  - The result is exact at the moment of the copy. It stays true: old blocks are nobody's but ours,
 *    and where no pointer into an image is, none can come from.
 *  - Ranges of images are kept in the shared mapping only, which is not looked through.
 *
 * Context: the program's thread, at an update point or before a blocking call.
 */
#ifndef KITSUNE_SCAN_H
#define KITSUNE_SCAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "load.h"
#include "transform.h"

#define KITSUNE__SCAN_IMAGES 32u /* looked for at once */
#define KITSUNE__SCAN_NOISE 8u
#define KITSUNE__SCAN_SKIPPED 96u

/* A word that points into an image: where it is, and what that is: a mapping's name, "stack", "handler
 * of signal 15" (then `where` is 0). */
struct kitsune__scan_word {
    uintptr_t where, value;
    char place[64];
};

/* An image that is looked for, and what was found. */
struct kitsune__scan_image {
    struct kitsune__range range;
    /* Words with these values come from the dynamic linker, which drops them with the image. */
    struct kitsune__range noise[KITSUNE__SCAN_NOISE];
    uint32_t noise_count;
    uint64_t words; /* that point into it */
    struct kitsune__scan_word first[KITSUNE__HOLDERS];
};

struct kitsune__scan {
    size_t bytes; /* of this shared mapping */
    pid_t copy;
    volatile uint32_t has_let_go;    /* of the program's open files */
    volatile uint32_t done;          /* set last by the copy */
    volatile uint32_t blocks_proven; /* the heap's structure was proven */
    uint32_t image_count;
    struct kitsune__scan_image images[KITSUNE__SCAN_IMAGES];
    uint32_t skipped_count;
    struct kitsune__range skipped[KITSUNE__SCAN_SKIPPED];
    uint64_t whole_count; /* bits in `whole` */
    uint8_t whole[];      /* bit i: retired object i is a whole block in use */
};

/* Makes the shared mapping for `objects` (may be NULL). NULL if there is no memory. */
struct kitsune__scan *kitsune__scan_prepare(const struct kitsune__retired *objects);
/* Adds an image to look for. -1 if there are too many. Its number is the order of the calls. */
int kitsune__scan_add_image(struct kitsune__scan *scan, const struct kitsune__image *image);
/* Memory that is not looked through. */
void kitsune__scan_skip(struct kitsune__scan *scan, const void *start, const void *end);
/* The same of what the dynamic linker keeps of an object. */
void kitsune__scan_skip_link_map(struct kitsune__scan *scan, const void *handle);
/* Makes the copy. `stack_low` is the lowest stack address that is in use. 0, or -1. */
int kitsune__scan_start(struct kitsune__scan *scan, struct kitsune__retired *objects,
                        const void *stack_low);
/* Non-zero if the copy has ended; `limit_ns` to wait for that. */
int kitsune__scan_ended(struct kitsune__scan *scan, uint64_t limit_ns);
/* Kills the copy if it still runs, reaps it and unmaps the structure. */
void kitsune__scan_end(struct kitsune__scan *scan);
/* In a child after fork: unmaps the structure, which is the parent's, and leaves it as it is. */
void kitsune__scan_forget(struct kitsune__scan *scan);

static inline int kitsune__scan_is_whole(const struct kitsune__scan *scan, uint64_t index) {
    return scan->whole[index / 8] >> index % 8 & 1;
}

#endif
