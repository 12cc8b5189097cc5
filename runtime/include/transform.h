/*
 * Transformers by hand, under their published names (kitsune_closures.h has what they do). A program
 * that uses one of these names for something of its own defines KITSUNE_NO_TRANSFORM.
 */
#ifndef KITSUNE_TRANSFORM_H
#define KITSUNE_TRANSFORM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kitsune_annotations.h"
#include "kitsune_closures.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef void (*xf)(void *in, void *out, int count, void **arguments);
typedef struct kitsune_closure closure;
typedef enum kitsune__depth copy_opt;

#define XF_SHALLOW KITSUNE__SHALLOW
#define XF_DEEP KITSUNE__DEEP
#define XF_TARGET KITSUNE__TARGET

/* By other names, so that a program's own function of one of these names is another one. */
#define transform_make_closure kitsune__make_closure
#define transform_invoke_closure kitsune__invoke_closure
#define transform_raw kitsune__transform_raw
#define transform_ptr kitsune__transform_ptr
#define transform_array kitsune__transform_array
#define transform_ptrarray kitsune__transform_ptrarray
#define transform_ntarray kitsune__transform_ntarray
#define transform_fptr kitsune__transform_fptr
#define transform_register_renaming kitsune__register_renaming
#define transform_mapped_name kitsune__mapped_name

/* A closure of a transformer of one's own, with arguments and without. */
#define XF_CLOSURE(transformer, depth, old_size, new_size, ...)                                    \
    kitsune__make_closure((transformer), (depth), (old_size), (new_size),                          \
                          KITSUNE__COUNT(__VA_ARGS__), __VA_ARGS__)
#define XF_LIFT(transformer, depth, old_size, new_size)                                            \
    kitsune__make_closure((transformer), (depth), (old_size), (new_size), 0)
#define KITSUNE__COUNT(...)                                                                        \
    KITSUNE__SIXTEENTH(__VA_ARGS__, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
#define KITSUNE__SIXTEENTH(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, count, ...) count

/* From now on pointers to the old `old_key` go to the new `new_key`: a variable or function. */
void kitsune__register_renaming(const char *old_key, const char *new_key) KITSUNE__HIDDEN;
/* What `old_key` was renamed to by hand; NULL if it was not. */
char *kitsune__mapped_name(const char *old_key) KITSUNE__HIDDEN;

/* The names of a type of either version in generated code. */
#define EKIDEN_OLD_TYPE(name) _kitsune_old_rename_##name
#define EKIDEN_NEW_TYPE(name) _kitsune_new_rename_##name

#ifdef __cplusplus
}
#endif

#endif
