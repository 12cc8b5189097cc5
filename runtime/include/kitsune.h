/*
 * The updating language's C API. A program includes this, puts kitsune_update("name") into its
 * long-running loops, and is built as a release (which the launcher runs and updates) or as a plain
 * executable, in which everything here does nothing.
 *
 * Outside an update kitsune_update costs one relaxed load and a branch that is not taken. All
 * functions belong to the program's threads, not to signal handlers, except kitsune_update_requested.
 */
#ifndef KITSUNE_H
#define KITSUNE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__has_include)
#if __has_include(<kitsune_annotations.h>)
#include <kitsune_annotations.h>
#endif
#endif

#include "kitsune_hidden.h"
#ifndef KITSUNE_NO_TRANSFORM
#include "transform.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#include <registervars.h>
#include <stackvars.h>

/* ---- updating -------------------------------------------------------------------------------- */

extern unsigned int kitsune__gate_word KITSUNE__HIDDEN;
void kitsune__update_slow(const char *name) KITSUNE__HIDDEN;

/* Update point: here the program may become its next version. The name need not be a literal. */
static __inline void kitsune_update(const char *name) {
    if (__builtin_expect(__atomic_load_n(&kitsune__gate_word, __ATOMIC_RELAXED) != 0, 0))
        kitsune__update_slow(name);
}

/* Non-zero in new code between its main and the update point where the old version stood. */
int kitsune_is_updating(void) KITSUNE__HIDDEN;
/* The same, and the old version stood at that point. */
int kitsune_is_updating_from(const char *name) KITSUNE__HIDDEN;
/* Non-zero if this process has ever been updated. */
int kitsune_has_updated(void) KITSUNE__HIDDEN;
/* Requests an update from inside the program, to what kitsune_set_next_version named. */
void kitsune_signal_update(void) KITSUNE__HIDDEN;
/* Which release that loads. Takes over a malloc'ed string. */
void kitsune_set_next_version(char *path) KITSUNE__HIDDEN;
/* Withdraws a request that has not started. */
void kitsune_clear_request(void) KITSUNE__HIDDEN;
/* For loops like while (!done && !kitsune_update_requested()). */
int kitsune_update_requested(void) KITSUNE__HIDDEN;
/* Migrates every variable registered for it; does nothing when not updating. */
void kitsune_do_automigrate(void) KITSUNE__HIDDEN;
/* A line for the update log. */
void kitsune_log(const char *format, ...) KITSUNE__HIDDEN;

/* As pthread_create, which is tracked as well. More of threads: ktthreads.h. */
static __inline int kitsune_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                           void *(*start)(void *), void *argument) {
    return pthread_create(thread, attributes, start, argument);
}

/* ---- migrating by hand ----------------------------------------------------------------------- */

int kitsune__migrate_variable(const char *key, void *address) KITSUNE__HIDDEN;
int kitsune__migrate_local(const char *func, const char *name, void *address) KITSUNE__HIDDEN;

#define KITSUNE__STRING(text) #text
#define KITSUNE__EXPANDED(text) KITSUNE__STRING(text)

/* Each is non-zero if a value was migrated: if (!MIGRATE_GLOBAL(v)) v = init(); */
#define MIGRATE_GLOBAL(v) kitsune__migrate_variable(#v, (void *)&(v))
#define MIGRATE_STATIC(v) kitsune__migrate_variable(__FILE__ "/" #v, (void *)&(v))
/* A parameter or local of this function, which is thereby noted (E_NOTELOCALS). */
#define MIGRATE_LOCAL(v) kitsune__migrate_local(__func__, #v, (void *)&(v))
#define MIGRATE_LOCAL_STATIC(func, v)                                                              \
    kitsune__migrate_variable(__FILE__ "/" #func "#" #v, (void *)&(v))

/* ---- registering by hand ---------------------------------------------------------------------- */

/* What the front-end does by itself, for source that says it: see stackvars.h and registervars.h. */
#define ENTER_FUNC() stackvars_note_entry(__func__)
#define EXIT_FUNC() stackvars_note_exit(__func__)
#define NOTE_LOCAL(v) stackvars_note_local(#v, (void *)&(v), sizeof(v))
#define NOTE_STATIC(v) kitsune_note_var(#v, NULL, __FILE__, NULL, (void *)&(v), sizeof(v))
#define NOTE_LOCAL_STATIC(v) kitsune_note_var(#v, __func__, __FILE__, NULL, (void *)&(v), sizeof(v))
#define NOTE_AND_MIGRATE_LOCAL(v) (NOTE_LOCAL(v), MIGRATE_LOCAL(v))
#define NOTE_AND_MIGRATE_STATIC(v) (NOTE_STATIC(v), MIGRATE_STATIC(v))
#define NOTE_AND_MIGRATE_LOCAL_STATIC(func, v) (NOTE_LOCAL_STATIC(v), MIGRATE_LOCAL_STATIC(func, v))

/* ---- looking things up ----------------------------------------------------------------------- */

/* The address behind a key in the old or the new version; NULL if there is none, or several. */
void *kitsune_lookup_key_old(const char *key) KITSUNE__HIDDEN;
void *kitsune_lookup_key_new(const char *key) KITSUNE__HIDDEN;
/* The key of a variable or function; NULL if it is not registered. */
char *kitsune_lookup_addr_old(void *address) KITSUNE__HIDDEN;
char *kitsune_lookup_addr_new(void *address) KITSUNE__HIDDEN;
/* A global of the old / of the new version. */
void *kitsune_get_val(const char *name) KITSUNE__HIDDEN;
void *kitsune_get_cur_val(const char *name) KITSUNE__HIDDEN;
/* Non-zero if `address` is that of the old version's variable or function of this key. */
int kitsune_old_address_matches(const char *name, const void *address) KITSUNE__HIDDEN;
/* By the parts of a key; each but `name` may be NULL. */
void *kitsune_get_symbol_addr_old(const char *name, const char *func, const char *file,
                                  const char *ns) KITSUNE__HIDDEN;
void *kitsune_get_symbol_addr_new(const char *name, const char *func, const char *file,
                                  const char *ns) KITSUNE__HIDDEN;

/* `file` as a string or as it stands: "conn.c" or conn.c. */
#define GET_OLD_GLOBAL(v) kitsune_lookup_key_old(#v)
#define GET_NEW_GLOBAL(v) kitsune_lookup_key_new(#v)
/* The innermost live one of that name; NULL if there is none. */
#define GET_OLD_LOCAL(func, v) kitsune_get_symbol_addr_old(#v, #func, NULL, NULL)
#define GET_NEW_LOCAL(func, v) kitsune_get_symbol_addr_new(#v, #func, NULL, NULL)
#define GET_OLD_STATIC(file, v) kitsune_get_symbol_addr_old(#v, NULL, KITSUNE__EXPANDED(file), NULL)
#define GET_NEW_STATIC(file, v) kitsune_get_symbol_addr_new(#v, NULL, KITSUNE__EXPANDED(file), NULL)
#define GET_OLD_LOCAL_STATIC(file, func, v)                                                        \
    kitsune_get_symbol_addr_old(#v, #func, KITSUNE__EXPANDED(file), NULL)
#define GET_NEW_LOCAL_STATIC(file, func, v)                                                        \
    kitsune_get_symbol_addr_new(#v, #func, KITSUNE__EXPANDED(file), NULL)

/* ---- transformers by hand -------------------------------------------------------------------- */

typedef void (*state_xform_fn_t)(void);

/* The names by which they are found: int GLOBAL_XFORM(counter)(void *new_counter) { ... }. `file_c` is
 * the file with _ for what no name may have: main_c, or src_main_c if there are several. */
#define GLOBAL_XFORM(v) KITSUNE__PASTE(_kitsune_transform_, v)
#define STATIC_XFORM(file_c, v) KITSUNE__PASTE4(_kitsune_transform_, file_c, ___file___, v)
#define LOCAL_XFORM(func, v) KITSUNE__PASTE4(_kitsune_transform_, func, ___func___, v)
#define LOCAL_STATIC_XFORM(file_c, func, v)                                                        \
    KITSUNE__PASTE4(STATIC_XFORM(file_c, func), ___func___, v, )
#define KITSUNE__PASTE(a, b) KITSUNE__PASTE_(a, b)
#define KITSUNE__PASTE_(a, b) a##b
#define KITSUNE__PASTE4(a, b, c, d) KITSUNE__PASTE4_(a, b, c, d)
#define KITSUNE__PASTE4_(a, b, c, d) a##b##c##d

/* The one of a variable of the new version during an update, else NULL; each but `name` may be NULL. */
xform_fn_t kitsune_get_xform(const char *name, const char *func, const char *file,
                             const char *ns) KITSUNE__HIDDEN;

/* Defines `void *name(void *function)`: the new one of an old function of these names, else
 * `function` itself. Static functions are looked for in this file. */
#define DEF_XFORM_FUNC_PTR(name, ...)                                                              \
    void *name(void *function) {                                                                   \
        void *const kitsune__functions[] = {__VA_ARGS__};                                          \
        return kitsune__map_function(function, __FILE__, #__VA_ARGS__, kitsune__functions,         \
                                     sizeof kitsune__functions / sizeof *kitsune__functions);      \
    }
void *kitsune__map_function(void *function, const char *file, const char *names,
                            void *const *functions, size_t count) KITSUNE__HIDDEN;

/* ---- what else the published API has --------------------------------------------------------- */

/* Blocks that only a library points to (ktheaptrack.h). */
#define NOTE_HEAP(list, p) kitsune_heaplist_add((list), (p))
#define UNNOTE_HEAP(list, p) kitsune_heaplist_del((list), (p))

/* The log is there without it; returns 1. */
int kitsune_logging_init(const char *name) KITSUNE__HIDDEN;

/* Those of the C library: the engine finds blocks by itself. */
void *kitsune_malloc(size_t size) KITSUNE__HIDDEN;
void *kitsune_calloc(size_t count, size_t size) KITSUNE__HIDDEN;
void kitsune_free(void *block) KITSUNE__HIDDEN;

#ifdef __cplusplus
}
#endif

#endif
