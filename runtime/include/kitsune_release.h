/*
 * What generated C needs to define `kitsune_release`, the one exported symbol of a release. The rest
 * of the release side (release.c, wrap.c) is linked in as objects.
 */
#ifndef KITSUNE_RELEASE_H
#define KITSUNE_RELEASE_H

#include "kitsune_abi.h"

#define KITSUNE__LOCAL __attribute__((visibility("hidden")))

/* release.c: the gate (one page of its own) and the way to the launcher. */
extern struct kitsune_gate kitsune__gate KITSUNE__LOCAL;
extern const struct kitsune_launcher *kitsune__launcher KITSUNE__LOCAL;
/* by_hand.c: variables that the program registers while it runs. */
extern struct kitsune_registered *kitsune__registered KITSUNE__LOCAL;
void kitsune__automigrate_registered(void) KITSUNE__LOCAL;
/* The program's main, under another name: its prototype is the program's business. */
extern int kitsune__program_main(int, char **, char **) __asm__("main") KITSUNE__LOCAL;
/* The linker's: the symbol table's section and the image's bounds. Weak: a program may register
 * nothing. */
extern const struct kitsune_symbol __start_kitsune_symbols[] __attribute__((weak)) KITSUNE__LOCAL;
extern const struct kitsune_symbol __stop_kitsune_symbols[] __attribute__((weak)) KITSUNE__LOCAL;
extern const uint8_t __ehdr_start[] KITSUNE__LOCAL;
extern const uint8_t _end[] KITSUNE__LOCAL;
/* closures.c */
extern char *kitsune__mapped_name(const char *old_key) KITSUNE__LOCAL;

/* Defines the release. `identity_` and `plan_` are addresses (plan_ may be NULL), `digest_` a
 * constant. */
#define KITSUNE_DEFINE_RELEASE(identity_, digest_, plan_)                                          \
    extern const struct kitsune_release kitsune_release __attribute__((visibility("default")));    \
    const struct kitsune_release kitsune_release = {                                               \
        .abi = KITSUNE_ABI,                                                                        \
        .size = sizeof(struct kitsune_release),                                                    \
        .identity = (identity_),                                                                   \
        .layout_digest = (digest_),                                                                \
        .main = kitsune__program_main,                                                             \
        .symbols = __start_kitsune_symbols,                                                        \
        .symbols_end = __stop_kitsune_symbols,                                                     \
        .plan = (plan_),                                                                           \
        .registered = &kitsune__registered,                                                        \
        .gate = &kitsune__gate,                                                                    \
        .launcher = &kitsune__launcher,                                                            \
        .image_start = __ehdr_start,                                                               \
        .image_end = _end,                                                                         \
        .renamed = kitsune__mapped_name,                                                           \
    }

#endif
