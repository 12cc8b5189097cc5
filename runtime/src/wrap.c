/*
 * Linked into each release with --wrap for each name of calls.h: the program's calls go through the
 * launcher. Without a launcher they are libc's.
 */
#define _GNU_SOURCE
#include "calls.h"

#include "kitsune_abi.h"
#include "kitsune_release.h"

static const struct kitsune_calls *calls(void) {
    const struct kitsune_launcher *table = kitsune__launcher;
    return table != NULL && table->abi == KITSUNE_ABI ? table->calls : NULL;
}

#define KITSUNE__REAL(type, name, parameters, arguments)                                          \
    type __real_##name parameters;                                                                \
    type __wrap_##name parameters;

#define KITSUNE__WRAP(type, name, parameters, arguments)                                          \
    KITSUNE__REAL(type, name, parameters, arguments)                                              \
    type __wrap_##name parameters {                                                               \
        const struct kitsune_calls *table = calls();                                              \
        return table != NULL ? table->name arguments : __real_##name arguments;                   \
    }

#define KITSUNE__WRAP_VOID(type, name, parameters, arguments)                                     \
    KITSUNE__REAL(type, name, parameters, arguments)                                              \
    void __wrap_##name parameters {                                                               \
        const struct kitsune_calls *table = calls();                                              \
        if (table != NULL)                                                                        \
            table->name arguments;                                                                \
        else                                                                                      \
            __real_##name arguments;                                                              \
    }

#define KITSUNE__WRAP_NORETURN(type, name, parameters, arguments)                                 \
    __attribute__((noreturn)) void __real_##name parameters;                                      \
    __attribute__((noreturn)) void __wrap_##name parameters;                                      \
    void __wrap_##name parameters {                                                               \
        const struct kitsune_calls *table = calls();                                              \
        if (table != NULL)                                                                        \
            table->name arguments;                                                                \
        __real_##name arguments;                                                                  \
    }

KITSUNE_CALLS(KITSUNE__WRAP, KITSUNE__WRAP_VOID, KITSUNE__WRAP_NORETURN)
