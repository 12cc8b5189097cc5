/*
 * Annotations of a program's source: what the front-end is to know of a type, field, variable or
 * function. Included by kitsune.h.
 *
 * They reach the front-end only. It preprocesses with __KT__ defined; an annotation is then the
 * token `__kt__(kind, "text")`, read and blanked out before the compiler sees the text, so that it may
 * stand where GNU C takes no attribute. For everybody else, and under E_NOANNOT, it is nothing.
 */
#ifndef KITSUNE_ANNOTATIONS_H
#define KITSUNE_ANNOTATIONS_H

#if defined(__KT__) && !defined(E_NOANNOT)
/* The second step lets macros in the argument be expanded before it becomes text. */
#define KITSUNE__ANNOTATION(kind, ...) __kt__(kind, #__VA_ARGS__)

#define E_AUTO_MIGRATE __kt__(auto_migrate, "")
#define E_MANUAL_MIGRATE __kt__(manual_migrate, "")
#define E_NOTELOCALS __kt__(notelocals, "")
#define E_PTR __kt__(ptr, "")
#define E_OPAQUE __kt__(opaque, "")
#define E_SZ __kt__(sz, "")
#define E_IGNORE __kt__(ignore, "")
#define E_PTRARRAY(...) KITSUNE__ANNOTATION(ptrarray, __VA_ARGS__)
#define E_ARRAY(...) KITSUNE__ANNOTATION(array, __VA_ARGS__)
#define E_GENERIC(...) KITSUNE__ANNOTATION(generic, __VA_ARGS__)
#define E_T(...) KITSUNE__ANNOTATION(t, __VA_ARGS__)
#define E_G(...) KITSUNE__ANNOTATION(g, __VA_ARGS__)
#define E_CUSTOM(...) KITSUNE__ANNOTATION(custom, __VA_ARGS__)
#else
#define E_AUTO_MIGRATE
#define E_MANUAL_MIGRATE
#define E_NOTELOCALS
#define E_PTR
#define E_OPAQUE
#define E_SZ
#define E_IGNORE
#define E_PTRARRAY(...)
#define E_ARRAY(...)
#define E_GENERIC(...)
#define E_T(...)
#define E_G(...)
#define E_CUSTOM(...)
#endif

/* The default handling, said aloud. */
#define E_AUTO

#endif
