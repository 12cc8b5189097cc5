/*
 * Linked into a plain executable: the API does nothing, and the gate is never set.
 */
#include <stddef.h>

#include "kitsune.h"
#include "ktthreads.h"
#include "release_table.h"

unsigned int kitsune__gate_word;

const struct kitsune_launcher *kitsune__table(void) {
    return NULL;
}

void kitsune__update_slow(const char *name) {
    (void)name;
}

int kitsune_is_updating(void) {
    return 0;
}

int kitsune_is_updating_from(const char *name) {
    (void)name;
    return 0;
}

int kitsune_has_updated(void) {
    return 0;
}

void kitsune_signal_update(void) {
}

void kitsune_set_next_version(char *path) {
    free(path);
}

void kitsune_clear_request(void) {
}

int kitsune_update_requested(void) {
    return 0;
}

void kitsune_do_automigrate(void) {
}

void kitsune_log(const char *format, ...) {
    (void)format;
}

void kitsune_threads_reset(void) {
}

ktthread_info *kitsune_threads_next(void) {
    return NULL;
}

void kitsune_thread_remove(void) {
}

int kitsune_thread_add(void *arg, void *(*start_fun)(void *), const char *update_pt,
                       pthread_attr_t *attr) {
    (void)arg;
    (void)start_fun;
    (void)update_pt;
    (void)attr;
    return -1;
}

int ktthreads_pthread_join(pthread_t thread, void **result) {
    return pthread_join(thread, result);
}

void ktthreads_update_callback(void (*cb)(void *), void *arg) {
    (void)cb;
    (void)arg;
}

int kitsune__migrate_variable(const char *key, void *address) {
    (void)key;
    (void)address;
    return 0;
}

int kitsune__migrate_local(const char *func, const char *name, void *address) {
    (void)func;
    return kitsune__migrate_variable(name, address);
}

void *kitsune_lookup_key_old(const char *key) {
    (void)key;
    return NULL;
}

void *kitsune_lookup_key_new(const char *key) {
    (void)key;
    return NULL;
}

char *kitsune_lookup_addr_old(void *address) {
    (void)address;
    return NULL;
}

char *kitsune_lookup_addr_new(void *address) {
    (void)address;
    return NULL;
}

void *kitsune_get_val(const char *name) {
    (void)name;
    return NULL;
}

void *kitsune_get_cur_val(const char *name) {
    (void)name;
    return NULL;
}

int kitsune_old_address_matches(const char *name, const void *address) {
    (void)name;
    (void)address;
    return 0;
}

void *kitsune_get_symbol_addr_old(const char *name, const char *func, const char *file,
                                  const char *ns) {
    (void)name;
    (void)func;
    (void)file;
    (void)ns;
    return NULL;
}

void *kitsune_get_symbol_addr_new(const char *name, const char *func, const char *file,
                                  const char *ns) {
    (void)name;
    (void)func;
    (void)file;
    (void)ns;
    return NULL;
}

void kitsune_register_var(const char *var_name, const char *funcname, const char *filename,
                          const char *ns, void *var_addr, size_t size, int auto_migrate) {
    (void)var_name;
    (void)funcname;
    (void)filename;
    (void)ns;
    (void)var_addr;
    (void)size;
    (void)auto_migrate;
}

void kitsune_note_var(const char *var_name, const char *funcname, const char *filename,
                      const char *ns, void *addr, size_t size) {
    kitsune_register_var(var_name, funcname, filename, ns, addr, size, 0);
}

int kitsune_migrate_var(const char *var_name, const char *funcname, const char *filename,
                        const char *ns, void *var_addr, size_t var_size, xform_fn_t xform_fun) {
    (void)var_name;
    (void)funcname;
    (void)filename;
    (void)ns;
    (void)var_addr;
    (void)var_size;
    (void)xform_fun;
    return 0;
}
