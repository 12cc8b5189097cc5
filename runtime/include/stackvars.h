/*
 * Noting parameters and locals by hand, and looking them up. Included by kitsune.h.
 *
 * A function that notes one of its variables has all of them noted by the front-end, from their
 * declarations on until their block is left, as under E_NOTELOCALS. So the calls themselves do nothing:
 * they say what the function is about, and a name that is no local of it is an error of the build.
 */
#ifndef KITSUNE_STACKVARS_H
#define KITSUNE_STACKVARS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "kitsune_annotations.h"
#include "kitsune_hidden.h"

#ifdef __cplusplus
extern "C" {
#endif

void stackvars_note_entry(const char *fun_name) KITSUNE__HIDDEN;
void stackvars_note_exit(const char *fun_name) KITSUNE__HIDDEN;
void stackvars_note_local(const char *name, void *addr, size_t size) KITSUNE__HIDDEN;
void stackvars_note_formal(const char *name, void *addr, size_t size) KITSUNE__HIDDEN;

/* The innermost live variable of that name in the old version; NULL if there is none. */
void *stackvars_get_local(const char *fun_name, const char *var_name) KITSUNE__HIDDEN;
void *stackvars_get_formal(const char *fun_name, const char *var_name) KITSUNE__HIDDEN;
/* The same of the running version, the new one during an update. */
void *stackvars_get_local_new(const char *fun_name, const char *var_name) KITSUNE__HIDDEN;
void *stackvars_get_formal_new(const char *fun_name, const char *var_name) KITSUNE__HIDDEN;

#ifdef __cplusplus
}
#endif

#endif
