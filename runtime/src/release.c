/*
 * Linked into each release: the program's API, which goes to the launcher, and the gate.
 *
 * Invariants:
 *  - Nothing here acts: every function asks the launcher's table. A release that no launcher loaded
 *    (a test that dlopens it) behaves as a plain program.
 *  - The gate is one page of its own: the launcher maps a shared page over it.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "kitsune.h"
#include "kitsune_abi.h"
#include "kitsune_release.h"
#include "ktthreads.h"
#include "release_table.h"

#define PAGE 4096

extern const struct kitsune_release kitsune_release;

/* The launcher's own table, found when the release is loaded, so that constructors reach it too.
 * Weak: absent where no launcher loads it. */
extern const struct kitsune_launcher kitsune_launcher_table
    __attribute__((weak, visibility("default")));

const struct kitsune_launcher *kitsune__launcher = &kitsune_launcher_table;

/* A page of .data, not of .bss: what follows it must not share the page. */
union gate_page {
    struct kitsune_gate gate;
    unsigned char whole[PAGE];
};
KITSUNE__LOCAL union gate_page kitsune__gate_page
    __attribute__((aligned(PAGE), section(".data.kitsune_gate")));
extern __typeof__(kitsune__gate) kitsune__gate __attribute__((alias("kitsune__gate_page")));
extern __typeof__(kitsune__gate_word) kitsune__gate_word
    __attribute__((alias("kitsune__gate_page")));

const struct kitsune_launcher *kitsune__table(void) {
    const struct kitsune_launcher *table = kitsune__launcher;
    return table != NULL && table->abi == KITSUNE_ABI ? table : NULL;
}

static const struct kitsune_launcher *launcher(void) {
    return kitsune__table();
}

void kitsune__update_slow(const char *name) {
    if (launcher() != NULL)
        launcher()->update(&kitsune_release, name);
}

int kitsune_is_updating(void) {
    return launcher() != NULL && launcher()->is_updating(&kitsune_release);
}

int kitsune_is_updating_from(const char *name) {
    return launcher() != NULL && launcher()->is_updating_from(&kitsune_release, name);
}

int kitsune_has_updated(void) {
    return launcher() != NULL && launcher()->has_updated();
}

void kitsune_signal_update(void) {
    if (launcher() != NULL)
        launcher()->signal_update();
}

void kitsune_set_next_version(char *path) {
    if (launcher() != NULL)
        launcher()->set_next_version(path);
    else
        free(path);
}

void kitsune_clear_request(void) {
    if (launcher() != NULL)
        launcher()->clear_request();
}

int kitsune_update_requested(void) {
    return launcher() != NULL && launcher()->update_requested();
}

void kitsune_do_automigrate(void) {
    if (launcher() != NULL)
        launcher()->do_automigrate(&kitsune_release);
    if (kitsune_is_updating())
        kitsune__automigrate_registered();
}

void kitsune_log(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    if (launcher() != NULL)
        launcher()->log(format, arguments);
    va_end(arguments);
}

int kitsune__migrate_variable(const char *key, void *address) {
    return launcher() != NULL ? launcher()->migrate(&kitsune_release, key, address) : 0;
}

/* The front-end inserts the calls, into noted functions. */
void kitsune__enter(struct kitsune_frame *frame) KITSUNE__LOCAL;
void kitsune__enter(struct kitsune_frame *frame) {
    if (launcher() != NULL)
        launcher()->enter(frame);
}

int kitsune__migrate_local(const char *func, const char *name, void *address) {
    return kitsune_migrate_var(name, func, NULL, NULL, address, 0, NULL);
}

/* ---- threads --------------------------------------------------------------------------------- */

void kitsune_threads_reset(void) {
    if (launcher() != NULL)
        launcher()->threads_reset();
}

ktthread_info *kitsune_threads_next(void) {
    return launcher() != NULL ? launcher()->threads_next() : NULL;
}

void kitsune_thread_remove(void) {
    if (launcher() != NULL)
        launcher()->thread_remove();
}

int kitsune_thread_add(void *arg, void *(*start_fun)(void *), const char *update_pt,
                       pthread_attr_t *attr) {
    ktthread_info info = {arg, start_fun, update_pt, attr};
    return launcher() != NULL ? launcher()->thread_add(&info) : -1;
}

/* How long a join goes unseen by a request: libc's cannot be ended. */
#define JOIN_NS 20000000

int ktthreads_pthread_join(pthread_t thread, void **result) {
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += kitsune_update_requested() ? 0 : JOIN_NS;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        int error = pthread_clockjoin_np(thread, result, CLOCK_MONOTONIC, &until);
        if (error != ETIMEDOUT)
            return error;
        if (kitsune_update_requested())
            return EINTR;
    }
}

void ktthreads_update_callback(void (*cb)(void *), void *arg) {
    if (launcher() != NULL)
        launcher()->thread_callback(cb, arg);
}

/* ---- lookups --------------------------------------------------------------------------------- */

static void *lookup_key(int new_version, const char *key) {
    return launcher() != NULL ? launcher()->lookup_key(new_version, key) : NULL;
}

static char *lookup_address(int new_version, const void *address) {
    return launcher() != NULL ? (char *)launcher()->lookup_address(new_version, address) : NULL;
}

void *kitsune_lookup_key_old(const char *key) {
    return lookup_key(0, key);
}

void *kitsune_lookup_key_new(const char *key) {
    return lookup_key(1, key);
}

char *kitsune_lookup_addr_old(void *address) {
    return lookup_address(0, address);
}

char *kitsune_lookup_addr_new(void *address) {
    return lookup_address(1, address);
}

void *kitsune_get_val(const char *name) {
    return lookup_key(0, name);
}

void *kitsune_get_cur_val(const char *name) {
    return lookup_key(1, name);
}

int kitsune_old_address_matches(const char *name, const void *address) {
    void *found = lookup_key(0, name);
    return found != NULL && found == address;
}

static void *lookup_parts(int new_version, const char *name, const char *func, const char *file,
                          const char *ns) {
    char *key = kitsune_get_symbol_key(name, func, file, ns);
    void *address = key != NULL ? lookup_key(new_version, key) : NULL;
    free(key);
    return address;
}

void *kitsune_get_symbol_addr_old(const char *name, const char *func, const char *file,
                                  const char *ns) {
    return lookup_parts(0, name, func, file, ns);
}

void *kitsune_get_symbol_addr_new(const char *name, const char *func, const char *file,
                                  const char *ns) {
    return lookup_parts(1, name, func, file, ns);
}
