/*
 * Linked into each release: variables that the program registers by hand (registervars.h).
 *
 * Invariants:
 *  - A key that the release's table has is not registered again. The others are in one list, newest
 *    first, to which any thread may add; entries are never taken out, they go with the process.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "kitsune.h"
#include "kitsune_abi.h"
#include "kitsune_release.h"

struct kitsune_registered *kitsune__registered KITSUNE__LOCAL;

/* ---- registering ----------------------------------------------------------------------------- */

static void add(struct kitsune_registered *entry) {
    entry->next = __atomic_load_n(&kitsune__registered, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&kitsune__registered, &entry->next, entry, 1,
                                        __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        continue;
}

void kitsune_register_var(const char *var_name, const char *funcname, const char *filename,
                          const char *ns, void *var_addr, size_t size, int auto_migrate) {
    char *key = kitsune_get_symbol_key(var_name, funcname, filename, ns);
    struct kitsune_registered *entry = NULL;
    void *known = key != NULL ? kitsune_lookup_key_new(key) : NULL;
    if (known != NULL && known != var_addr)
        kitsune_log("kitsune_register_var: '%s' is the key of another variable", key);
    if (known == NULL && key != NULL)
        entry = malloc(sizeof *entry);
    if (entry == NULL) {
        free(key);
        return;
    }
    *entry = (struct kitsune_registered){
        .symbol = {key, var_addr, size, KITSUNE_SYMBOL_VARIABLE | KITSUNE_SYMBOL_BY_HAND, 0},
        .auto_migrate = auto_migrate != 0};
    add(entry);
}

void kitsune_note_var(const char *var_name, const char *funcname, const char *filename,
                      const char *ns, void *addr, size_t size) {
    kitsune_register_var(var_name, funcname, filename, ns, addr, size, 0);
}

/* ---- migrating ------------------------------------------------------------------------------- */

int kitsune_migrate_var(const char *var_name, const char *funcname, const char *filename,
                        const char *ns, void *var_addr, size_t var_size, xform_fn_t xform_fun) {
    (void)var_size;
    if (!kitsune_is_updating())
        return 0;
    if (xform_fun != NULL)
        return xform_fun(var_addr);
    char *key = kitsune_get_symbol_key(var_name, funcname, filename, ns);
    int result = key != NULL && kitsune__migrate_variable(key, var_addr);
    free(key);
    return result;
}

void kitsune__automigrate_registered(void) {
    const struct kitsune_registered *entry =
        __atomic_load_n(&kitsune__registered, __ATOMIC_ACQUIRE);
    for (; entry != NULL; entry = entry->next)
        if (entry->auto_migrate)
            kitsune__migrate_variable(entry->symbol.key, (void *)(uintptr_t)entry->symbol.address);
}
