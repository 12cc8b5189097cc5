/*
 * Closures: how a value of the old version becomes one of the new, said by hand. For the code of rules
 * and, by way of transform.h, for transformers that a program has itself.
 *
 * Invariants:
 *  - Nothing is declared here but names that begin with kitsune or XF_: generated code includes this in
 *    front of the program's own headers.
 *  - Equal closures are one and the same: what one of them did to an object holds for all.
 *  - What a closure does to something behind a pointer is done when the migration goes on, not at
 *    once: the address is final, the contents are not. XF_SETTLE finishes it now, for code that reads
 *    it. Outside of an update it is done at once.
 *  - For an object that keeps its address `in` and `out` are equal; pointers in it are rewritten when
 *    the migration ends.
 */
#ifndef KITSUNE_CLOSURES_H
#define KITSUNE_CLOSURES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kitsune_hidden.h"

#ifdef __cplusplus
extern "C" {
#endif

struct kitsune_xf;
struct kitsune_type;

/* Writes the new value at `out` from the old one at `in`. */
typedef void (*kitsune__transformer)(void *in, void *out, int count, void **arguments);

enum kitsune__depth {
    KITSUNE__SHALLOW, /* objects of it keep their address */
    KITSUNE__DEEP,    /* objects of it get new blocks */
    KITSUNE__TARGET   /* as the last argument, a closure */
};

struct kitsune_closure {
    kitsune__transformer transform;
    enum kitsune__depth depth; /* never KITSUNE__TARGET once it is made */
    size_t old_size, new_size; /* bytes of a value */
    int count;
    void **arguments; /* sizes, counts and closures, as `transform` takes them */
    /* What the engine knows of such objects: a generated pair of types, or made at first use. */
    const struct kitsune_type *type;
    /* Of a generated pair: writes a value; `transform` is not called. */
    void (*move)(struct kitsune_xf *, const void *in, void *out);
};

struct kitsune_closure *kitsune__make_closure(kitsune__transformer transform,
                                              enum kitsune__depth depth, size_t old_size,
                                              size_t new_size, int count, ...) KITSUNE__HIDDEN;
void kitsune__invoke_closure(const struct kitsune_closure *closure, const void *in,
                             void *out) KITSUNE__HIDDEN;
void kitsune__settle(void) KITSUNE__HIDDEN;
/* Ends the update if `value` is not NULL. */
void kitsune__assert_null(const void *value, const char *text) KITSUNE__HIDDEN;

void kitsune__transform_raw(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
void kitsune__transform_ptr(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
void kitsune__transform_array(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
void kitsune__transform_ptrarray(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
void kitsune__transform_ntarray(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
void kitsune__transform_fptr(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;
/* A pair that the generator made: only ever a closure's name for it. */
void kitsune__transform_type(void *in, void *out, int count, void **arguments) KITSUNE__HIDDEN;

#define KITSUNE__ARGUMENT(number) ((void *)(uintptr_t)(number))
#define KITSUNE__POINTER_CLOSURE(transform, count, ...)                                            \
    kitsune__make_closure((transform), KITSUNE__TARGET, sizeof(void *), sizeof(void *), (count),   \
                          __VA_ARGS__)

#define XF_RAW(size)                                                                               \
    kitsune__make_closure(kitsune__transform_raw, KITSUNE__SHALLOW, (size), (size), 1,             \
                          KITSUNE__ARGUMENT(size))
#define XF_PTR(target) KITSUNE__POINTER_CLOSURE(kitsune__transform_ptr, 1, (void *)(target))
#define XF_ARRAY(count, old_size, new_size, element)                                               \
    kitsune__make_closure(kitsune__transform_array, KITSUNE__TARGET, (size_t)(count) * (old_size), \
                          (size_t)(count) * (new_size), 4, KITSUNE__ARGUMENT(count),               \
                          KITSUNE__ARGUMENT(old_size), KITSUNE__ARGUMENT(new_size),                \
                          (void *)(element))
#define XF_PTRARRAY(count, old_size, new_size, element)                                            \
    KITSUNE__POINTER_CLOSURE(kitsune__transform_ptrarray, 4, KITSUNE__ARGUMENT(count),             \
                             KITSUNE__ARGUMENT(old_size), KITSUNE__ARGUMENT(new_size),             \
                             (void *)(element))
#define XF_NTARRAY(old_size, new_size, element)                                                    \
    KITSUNE__POINTER_CLOSURE(kitsune__transform_ntarray, 3, KITSUNE__ARGUMENT(old_size),           \
                             KITSUNE__ARGUMENT(new_size), (void *)(element))
#define XF_NTSTR() XF_NTARRAY(sizeof(char), sizeof(char), XF_RAW(sizeof(char)))
#define XF_FPTR()                                                                                  \
    kitsune__make_closure(kitsune__transform_fptr, KITSUNE__SHALLOW, sizeof(void *),               \
                          sizeof(void *), 0)

/* Applies a closure; `in` and `out` are the addresses of the old and the new value. */
#define XF_INVOKE(closure, in, out) kitsune__invoke_closure((closure), (in), (out))
#define XF_SETTLE() kitsune__settle()
/* The same bytes, whatever the two types are called. */
#define XF_ASSIGN(out, in)                                                                         \
    do {                                                                                           \
        _Static_assert(sizeof(out) == sizeof(in), "XF_ASSIGN between values of two sizes");        \
        memcpy(&(out), &(in), sizeof(out));                                                        \
    } while (0)
#define XF_ASSERT_NULL(out, in)                                                                    \
    do {                                                                                           \
        kitsune__assert_null((const void *)(in), #in);                                             \
        (out) = NULL;                                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
