/*
 * Linked into each release and into plain executables: locals that the program notes by hand
 * (stackvars.h). Noting one does nothing: the front-end has put it into a frame.
 */
#include "kitsune.h"

void stackvars_note_entry(const char *fun_name) {
    (void)fun_name;
}

void stackvars_note_exit(const char *fun_name) {
    (void)fun_name;
}

void stackvars_note_local(const char *name, void *addr, size_t size) {
    (void)name;
    (void)addr;
    (void)size;
}

void stackvars_note_formal(const char *name, void *addr, size_t size) {
    (void)name;
    (void)addr;
    (void)size;
}

void *stackvars_get_local(const char *fun_name, const char *var_name) {
    return kitsune_get_symbol_addr_old(var_name, fun_name, NULL, NULL);
}

void *stackvars_get_formal(const char *fun_name, const char *var_name) {
    return kitsune_get_symbol_addr_old(var_name, fun_name, NULL, NULL);
}

void *stackvars_get_local_new(const char *fun_name, const char *var_name) {
    return kitsune_get_symbol_addr_new(var_name, fun_name, NULL, NULL);
}

void *stackvars_get_formal_new(const char *fun_name, const char *var_name) {
    return kitsune_get_symbol_addr_new(var_name, fun_name, NULL, NULL);
}
