/*
 * Destructors of thread-specific values (pthread_key_create, tss_create), so that they can follow the
 * program into the next version: libc has for each key a function of ours, which calls the program's.
 *
 * Invariants:
 *  - A place that is taken belongs to one key, until that is deleted. All is ordinary memory: a rollback
 *    restores it, and with it libc's own.
 *  - A key without a destructor, and one that finds no place, are libc's alone.
 */
#ifndef KITSUNE_WRAP_KEY_H
#define KITSUNE_WRAP_KEY_H

#include "load.h"

/*
 * Just before the commit: a destructor of the old image becomes its namesake (`successor`) in the new
 * one. Where there is none it stays, which is noted in the outcome, and keeps the old image mapped:
 * nothing else knows how the values are freed.
 */
void kitsune__keys_carry_over(const struct kitsune__image *old,
                              const void *(*successor)(const void *function));

#endif
