/*
 * Registering variables by hand, and migrating what was registered. Included by kitsune.h.
 *
 * The front-end registers every variable by itself (unless the manifest switches that off for a unit),
 * so a key that is known already stays what it is. What is registered here and nowhere else has no
 * type: it is found by its key, and migrated by copying its bytes if both versions registered it with
 * the same size.
 */
#ifndef KITSUNE_REGISTERVARS_H
#define KITSUNE_REGISTERVARS_H

#include <stddef.h>

#include "kitsune_hidden.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A transformer by hand: gives the new variable, whose address it gets, its value; its result is that
 * of MIGRATE_*. */
typedef int (*xform_fn_t)(void *);

/* The key of its parts, of which all but the name may be NULL; malloc'ed, the caller frees it. */
char *kitsune_get_symbol_key(const char *name, const char *funcname, const char *filename,
                             const char *ns) KITSUNE__HIDDEN;

/* Registers a variable under the key of these parts; non-zero `auto_migrate`: for
 * kitsune_do_automigrate too. */
void kitsune_register_var(const char *var_name, const char *funcname, const char *filename,
                          const char *ns, void *var_addr, size_t size,
                          int auto_migrate) KITSUNE__HIDDEN;
void kitsune_note_var(const char *var_name, const char *funcname, const char *filename,
                      const char *ns, void *addr, size_t size) KITSUNE__HIDDEN;
/* Migrates it: by the transformer if there is one, else as the MIGRATE_* do. Non-zero if a value was
 * migrated. */
int kitsune_migrate_var(const char *var_name, const char *funcname, const char *filename,
                        const char *ns, void *var_addr, size_t var_size,
                        xform_fn_t xform_fun) KITSUNE__HIDDEN;

#ifdef __cplusplus
}
#endif

#endif
