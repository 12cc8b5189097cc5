#define _GNU_SOURCE
#include "wrap_fork.h"

#include <pthread.h>
#include <stdint.h>

#include "calls.h"
#include "pool.h"

#define PLACES 64

enum { UNKNOWN, SPARE, CLAIMED, TAKEN };
enum { PREPARE, PARENT, CHILD, HANDLERS };

/*
 * UNKNOWN -> CLAIMED -> TAKEN when libc knows it; -> SPARE when its handlers are dropped, -> CLAIMED …;
 * a place that libc refused is UNKNOWN again.
 */
static struct place {
    uint32_t state;
    kitsune__exit_function *handlers[HANDLERS];
} places[PLACES];

/* By place: the calling thread's fork has called what prepares it. */
static _Thread_local uint64_t is_prepared;

static void call(const struct place *place, int which) {
    kitsune__exit_function *handler = place->handlers[which];
    if (handler != NULL)
        handler();
}

static void prepare(int index) {
    if (__atomic_load_n(&places[index].state, __ATOMIC_ACQUIRE) != TAKEN)
        return;
    is_prepared |= UINT64_C(1) << index;
    call(&places[index], PREPARE);
}

static void end(int index, int which) {
    if (!(is_prepared >> index & 1))
        return;
    is_prepared &= ~(UINT64_C(1) << index);
    call(&places[index], which);
}

#define KITSUNE__FUNCTIONS(n)                                                                      \
    static void prepare_##n(void) {                                                                \
        prepare(n);                                                                                \
    }                                                                                              \
    static void in_parent_##n(void) {                                                              \
        end(n, PARENT);                                                                            \
    }                                                                                              \
    static void in_child_##n(void) {                                                               \
        end(n, CHILD);                                                                             \
    }
KITSUNE__POOL_64(KITSUNE__FUNCTIONS)

#define KITSUNE__NAMES(n) {prepare_##n, in_parent_##n, in_child_##n},
static kitsune__exit_function *const functions[PLACES][HANDLERS] = {
    KITSUNE__POOL_64(KITSUNE__NAMES)};

/* Those that libc knows first: the list of it must not grow with each update. */
static struct place *claim(uint32_t from) {
    for (int index = 0; index < PLACES; index++) {
        uint32_t expected = from;
        if (places[index].state == from &&
            __atomic_compare_exchange_n(&places[index].state, &expected, CLAIMED, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return &places[index];
    }
    return NULL;
}

static void fill(struct place *place, kitsune__exit_function *const handlers[HANDLERS]) {
    for (int which = 0; which < HANDLERS; which++)
        place->handlers[which] = handlers[which];
    __atomic_store_n(&place->state, TAKEN, __ATOMIC_RELEASE);
}

int kitsune__call_pthread_atfork(kitsune__exit_function *before, kitsune__exit_function *parent,
                                 kitsune__exit_function *child) {
    kitsune__exit_function *const handlers[HANDLERS] = {before, parent, child};
    struct place *place = claim(SPARE);
    if (place != NULL) {
        fill(place, handlers);
        return 0;
    }
    place = claim(UNKNOWN);
    if (place == NULL) /* more than anybody has: they stay what they are */
        return pthread_atfork(before, parent, child);
    kitsune__exit_function *const *known = functions[place - places];
    int error = pthread_atfork(known[PREPARE], known[PARENT], known[CHILD]);
    if (error == 0)
        fill(place, handlers);
    else
        __atomic_store_n(&place->state, UNKNOWN, __ATOMIC_RELEASE);
    return error;
}

/* ---- carrying over -------------------------------------------------------------------------- */

static int is_equal(const struct place *one, kitsune__exit_function *const handlers[HANDLERS]) {
    int equal = one->state == TAKEN;
    for (int which = 0; which < HANDLERS; which++)
        equal &= one->handlers[which] == handlers[which];
    return equal;
}

/* Whether it is worth a place: something is left, which the new version has not registered itself. */
static int is_wanted(kitsune__exit_function *const handlers[HANDLERS]) {
    for (int index = 0; index < PLACES; index++)
        if (is_equal(&places[index], handlers))
            return 0;
    return handlers[PREPARE] != NULL || handlers[PARENT] != NULL || handlers[CHILD] != NULL;
}

void kitsune__atfork_carry_over(const struct kitsune__image *old,
                                const void *(*successor)(const void *function)) {
    for (int index = 0; index < PLACES; index++) {
        kitsune__exit_function *next[HANDLERS];
        int is_old = 0;
        for (int which = 0; places[index].state == TAKEN && which < HANDLERS; which++) {
            const void *handler = (const void *)(uintptr_t)places[index].handlers[which];
            int is_of_old = handler != NULL && kitsune__image_at(handler) == old;
            is_old |= is_of_old;
            next[which] =
                (kitsune__exit_function *)(uintptr_t)(is_of_old ? successor(handler) : handler);
        }
        if (!is_old)
            continue;
        uint32_t state = is_wanted(next) ? TAKEN : SPARE;
        for (int which = 0; which < HANDLERS; which++)
            places[index].handlers[which] = state == TAKEN ? next[which] : NULL;
        places[index].state = state;
    }
}
