/*
 * Linked into each release with --wrap for each name of calls.h: the program's calls go through the
 * launcher. Without a launcher they are libc's.
 */
#define _GNU_SOURCE
#include "calls.h"

#include <alloca.h>
#include <stdarg.h>

#include "kitsune_abi.h"
#include "kitsune_release.h"

static const struct kitsune_calls *calls(void) {
    const struct kitsune_launcher *table = kitsune__launcher;
    return table != NULL && table->abi == KITSUNE_ABI ? table->calls : NULL;
}

/*
 * way_NAME is where a call goes: the first one finds the launcher's, and leaves it there, so that later
 * ones cost a jump. Without a launcher each looks for one.
 */
#define KITSUNE__WAY(type, name, parameters, ...)                                                  \
    __VA_ARGS__ type __real_##name parameters;                                                     \
    __VA_ARGS__ type __wrap_##name parameters;                                                     \
    __VA_ARGS__ static type first_##name parameters;                                               \
    static type(*way_##name) parameters = first_##name;                                            \
    static type(*find_##name(void)) parameters {                                                   \
        const struct kitsune_calls *table = calls();                                               \
        if (table == NULL)                                                                         \
            return __real_##name;                                                                  \
        __atomic_store_n(&way_##name, table->name, __ATOMIC_RELAXED);                              \
        return table->name;                                                                        \
    }

#define KITSUNE__WRAP(type, name, parameters, arguments)                                           \
    KITSUNE__WAY(type, name, parameters)                                                           \
    static type first_##name parameters {                                                          \
        return find_##name() arguments;                                                            \
    }                                                                                              \
    type __wrap_##name parameters {                                                                \
        return __atomic_load_n(&way_##name, __ATOMIC_RELAXED) arguments;                           \
    }

#define KITSUNE__WRAP_VOID(type, name, parameters, arguments)                                      \
    KITSUNE__WAY(type, name, parameters)                                                           \
    static void first_##name parameters {                                                          \
        find_##name() arguments;                                                                   \
    }                                                                                              \
    void __wrap_##name parameters {                                                                \
        __atomic_load_n(&way_##name, __ATOMIC_RELAXED) arguments;                                  \
    }

#define KITSUNE__WRAP_NORETURN(type, name, parameters, arguments)                                  \
    KITSUNE__WAY(type, name, parameters, __attribute__((noreturn)))                                \
    static void first_##name parameters {                                                          \
        find_##name() arguments;                                                                   \
        __builtin_unreachable();                                                                   \
    }                                                                                              \
    void __wrap_##name parameters {                                                                \
        __atomic_load_n(&way_##name, __ATOMIC_RELAXED) arguments;                                  \
        __builtin_unreachable();                                                                   \
    }

KITSUNE_CALLS(KITSUNE__WRAP, KITSUNE__WRAP_VOID, KITSUNE__WRAP_NORETURN)

/* ---- calls that take a list of arguments ------------------------------------------------------ */

/* Number of arguments, the NULL at the end counted. */
static size_t list_length(const char *first, va_list rest) {
    size_t length = 1;
    for (const char *at = first; at != NULL; at = va_arg(rest, const char *))
        length++;
    return length;
}

/* Leaves in `rest` what follows the NULL. */
static void fill_vector(char **vector, const char *first, va_list *rest) {
    for (const char *at = first;; at = va_arg(*rest, const char *)) {
        *vector++ = (char *)at;
        if (at == NULL)
            return;
    }
}

#define KITSUNE__VARIABLES_execv(rest) NULL
#define KITSUNE__VARIABLES_execvp(rest) NULL
#define KITSUNE__VARIABLES_execve(rest) va_arg(rest, char *const *)
#define KITSUNE__VECTOR_execv(file, vector, variables) ((void)variables, __wrap_execv(file, vector))
#define KITSUNE__VECTOR_execvp(file, vector, variables)                                            \
    ((void)variables, __wrap_execvp(file, vector))
#define KITSUNE__VECTOR_execve(file, vector, variables) __wrap_execve(file, vector, variables)

/* No memory but the stack's: these are called between fork and exec, and in a child of vfork. */
#define KITSUNE__WRAP_LIST(name, by_vector)                                                        \
    int __wrap_##name(const char *file, const char *first, ...);                                   \
    int __wrap_##name(const char *file, const char *first, ...) {                                  \
        va_list rest;                                                                              \
        va_start(rest, first);                                                                     \
        size_t length = list_length(first, rest);                                                  \
        va_end(rest);                                                                              \
        char **vector = alloca(length * sizeof *vector);                                           \
        va_start(rest, first);                                                                     \
        fill_vector(vector, first, &rest);                                                         \
        char *const *variables = KITSUNE__VARIABLES_##by_vector(rest);                             \
        va_end(rest);                                                                              \
        return KITSUNE__VECTOR_##by_vector(file, vector, variables);                               \
    }

KITSUNE_LIST_CALLS(KITSUNE__WRAP_LIST)
