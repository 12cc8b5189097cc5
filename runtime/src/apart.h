/*
 * Keeps the addresses of an image apart from all others: for each the linker is made to choose a region of 4 GiB in
 * which nothing else lies.
 *
 * Why: where a look through memory takes words for addresses (seek.h), a word of which only the lower half was
 * written since the memory was last used - a number of 32 bits, and padding - still has the upper half of
 * whatever address was there. Most of those are of libraries, of stacks and of the allocator's own lists. An image
 * that shares its upper half with none of them is met by such a word only if an address of that very image
 * was there. And two of one layout differ in upper halves only.
 *
 * Invariants:
 *  - A hint only: where it cannot be followed the linker chooses as it would have.
 *  - Between begin and end the gaps between mappings above the region are filled, with addresses alone. Below it
 *    there is room for whatever else is mapped. What the main stack may need is left free.
 *  - Nothing stays filled.
 *
 * Context: one thread, all others stopped or not there yet. Not where the address space is limited, nor under
 * valgrind or the thread sanitizer, which give addresses a meaning of their own.
 */
#ifndef KITSUNE_APART_H
#define KITSUNE_APART_H

/* Before the linker maps an image. */
void kitsune__apart_begin(void);
/* After it. */
void kitsune__apart_end(void);
/* Whether an image that begins there was loaded so: then none comes to lie there for long. */
int kitsune__apart_holds(const void *start);

#endif
