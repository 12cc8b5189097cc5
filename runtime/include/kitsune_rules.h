/*
 * What the code of rules may use besides C: closures, which say how a value is transformed, and
 * XF_INVOKE, which applies one. Included by generated code only.
 *
 * Invariants:
 *  - `xf`, the engine of the running update, is in scope wherever a macro here is used.
 *  - A closure lives as long as the block in which it is written.
 *  - What XF_INVOKE is told of behind a pointer is finished when the migration goes on, not at once:
 *    its address is final, its contents are not. XF_SETTLE finishes it now, for code that reads it.
 */
#ifndef KITSUNE_RULES_H
#define KITSUNE_RULES_H

#include <string.h>

#include "kitsune_release.h"

enum kitsune_closure_kind {
    KITSUNE_CLOSURE_TYPE,     /* a value of `type`, written by `move` */
    KITSUNE_CLOSURE_RAW,      /* `old_size` bytes */
    KITSUNE_CLOSURE_POINTER,  /* to one `inner` */
    KITSUNE_CLOSURE_ARRAY,    /* `count` times `inner` in a row */
    KITSUNE_CLOSURE_POINTERS, /* a pointer to `count` times `inner` */
    KITSUNE_CLOSURE_ENDED,    /* a pointer to `inner`s, the last of which is all zero */
    KITSUNE_CLOSURE_TEXT,     /* a pointer to a zero-terminated text */
    KITSUNE_CLOSURE_FUNCTION  /* a function pointer */
};

struct kitsune_closure {
    enum kitsune_closure_kind kind;
    const struct kitsune_type *type;
    void (*move)(struct kitsune_xf *, const void *in, void *out);
    uint64_t count, old_size, new_size;
    const struct kitsune_closure *inner;
};

#define KITSUNE__CLOSURE(...) (&(const struct kitsune_closure){__VA_ARGS__})
#define XF_RAW(size_)                                                                              \
    KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_RAW, .old_size = (size_), .new_size = (size_))
#define XF_PTR(closure_) KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_POINTER, .inner = (closure_))
#define XF_ARRAY(count_, old_, new_, closure_)                                                     \
    KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_ARRAY, .count = (count_), .old_size = (old_),         \
                     .new_size = (new_), .inner = (closure_))
#define XF_PTRARRAY(count_, old_, new_, closure_)                                                  \
    KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_POINTERS, .count = (count_), .old_size = (old_),      \
                     .new_size = (new_), .inner = (closure_))
#define XF_NTARRAY(old_, new_, closure_)                                                           \
    KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_ENDED, .old_size = (old_), .new_size = (new_),        \
                     .inner = (closure_))
#define XF_NTSTR() KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_TEXT)
#define XF_FPTR() KITSUNE__CLOSURE(.kind = KITSUNE_CLOSURE_FUNCTION)

/* Applies a closure; `in` and `out` are the addresses of the old and the new value. */
#define XF_INVOKE(closure, in, out) kitsune__invoke(xf, (closure), (in), (out))
#define XF_SETTLE() kitsune__launcher->settle(xf)
#define XF_ASSIGN(out, in) ((out) = (__typeof__(out))(in))
#define XF_ASSERT_NULL(out, in)                                                                    \
    ((in) ? kitsune__launcher->fail(xf, "'%s' is not NULL", #in) : (void)0, (out) = NULL)

/* What is behind a pointer of such a closure: a type, or bytes. */
static inline void *kitsune__invoke_pointer(struct kitsune_xf *xf,
                                            const struct kitsune_closure *closure, void *old) {
    const struct kitsune_closure *inner = closure->inner;
    uint64_t count = closure->kind == KITSUNE_CLOSURE_POINTERS ? closure->count : 1;
    if (inner->kind == KITSUNE_CLOSURE_RAW)
        return kitsune__launcher->plain(xf, old, count * inner->old_size);
    if (inner->kind != KITSUNE_CLOSURE_TYPE) {
        kitsune__launcher->fail(xf, "a rule transforms a pointer to what has no type: $xform of a "
                                    "pointer type says it");
        return NULL;
    }
    if (closure->kind == KITSUNE_CLOSURE_ENDED)
        return kitsune__launcher->objects_terminated(xf, old, inner->type);
    return kitsune__launcher->objects(xf, old, count, inner->type);
}

static inline void kitsune__invoke(struct kitsune_xf *xf, const struct kitsune_closure *closure,
                                   const void *in, void *out) {
    void *pointer = NULL;
    switch (closure->kind) {
    case KITSUNE_CLOSURE_TYPE:
        closure->move(xf, in, out);
        return;
    case KITSUNE_CLOSURE_RAW:
        memcpy(out, in, closure->old_size);
        return;
    case KITSUNE_CLOSURE_ARRAY:
        for (uint64_t i = 0; i < closure->count; i++)
            kitsune__invoke(xf, closure->inner, (const char *)in + i * closure->old_size,
                            (char *)out + i * closure->new_size);
        return;
    default:
        break;
    }
    memcpy(&pointer, in, sizeof pointer);
    if (closure->kind == KITSUNE_CLOSURE_TEXT)
        pointer = kitsune__launcher->plain(xf, pointer, 0);
    else if (closure->kind == KITSUNE_CLOSURE_FUNCTION)
        pointer = kitsune__launcher->function(xf, pointer);
    else
        pointer = kitsune__invoke_pointer(xf, closure, pointer);
    memcpy(out, &pointer, sizeof pointer);
}

#endif
