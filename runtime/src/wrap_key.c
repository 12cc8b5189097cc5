#define _GNU_SOURCE
#include "wrap_key.h"

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <threads.h>

#include "calls.h"
#include "journal.h"
#include "pool.h"

#define PLACES 1024
_Static_assert(PTHREAD_KEYS_MAX <= PLACES, "each key can have a place");

enum { FREE, CLAIMED, TAKEN };

/*
 * FREE -> CLAIMED by whoever makes a key, -> TAKEN when libc has said which, -> FREE when it is deleted
 * or could not be made. Destructors run in any thread, as long as their key is there.
 */
static struct place {
    uint32_t state;
    pthread_key_t key;
    tss_dtor_t destructor;
} places[PLACES];

static void end_value(const struct place *place, void *value) {
    tss_dtor_t destructor = __atomic_load_n(&place->destructor, __ATOMIC_ACQUIRE);
    if (destructor != NULL)
        destructor(value);
}

#define KITSUNE__DESTRUCTOR(n)                                                                     \
    static void end_value_##n(void *value) {                                                       \
        end_value(&places[n], value);                                                              \
    }
KITSUNE__POOL_1024(KITSUNE__DESTRUCTOR)

#define KITSUNE__NAME(n) end_value_##n,
static const tss_dtor_t destructors[PLACES] = {KITSUNE__POOL_1024(KITSUNE__NAME)};

static struct place *claim(void) {
    for (int index = 0; index < PLACES; index++) {
        uint32_t free_state = FREE;
        if (places[index].state == FREE &&
            __atomic_compare_exchange_n(&places[index].state, &free_state, CLAIMED, 0,
                                        __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
            return &places[index];
    }
    return NULL;
}

static void change(struct place *place, uint32_t state) {
    if (state == FREE)
        __atomic_store_n(&place->destructor, NULL, __ATOMIC_RELEASE);
    __atomic_store_n(&place->state, state, __ATOMIC_RELEASE);
}

static struct place *place_of(pthread_key_t key) {
    for (int index = 0; index < PLACES; index++)
        if (__atomic_load_n(&places[index].state, __ATOMIC_ACQUIRE) == TAKEN &&
            places[index].key == key)
            return &places[index];
    return NULL;
}

int kitsune__call_pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    struct place *place = destructor != NULL ? claim() : NULL;
    if (place == NULL)
        return pthread_key_create(key, destructor);
    place->destructor = destructor;
    int error = pthread_key_create(key, destructors[place - places]);
    if (error == 0)
        place->key = *key;
    change(place, error == 0 ? TAKEN : FREE);
    return error;
}

int kitsune__call_pthread_key_delete(pthread_key_t key) {
    struct place *place = place_of(key); /* before another thread may get the number */
    int error = pthread_key_delete(key);
    if (error == 0 && place != NULL)
        change(place, FREE);
    return error;
}

int kitsune__call_tss_create(tss_t *key, tss_dtor_t destructor) {
    return kitsune__call_pthread_key_create(key, destructor) == 0 ? thrd_success : thrd_error;
}

void kitsune__call_tss_delete(tss_t key) {
    kitsune__call_pthread_key_delete(key);
}

void kitsune__keys_carry_over(const struct kitsune__image *old,
                              const void *(*successor)(const void *function)) {
    for (int index = 0; index < PLACES; index++) {
        struct place *place = &places[index];
        if (place->state != TAKEN ||
            kitsune__image_at((const void *)(uintptr_t)place->destructor) != old)
            continue;
        const void *next = successor((const void *)(uintptr_t)place->destructor);
        if (next != NULL)
            place->destructor = (tss_dtor_t)(uintptr_t)next;
        else
            kitsune__journal_note("the destructor of the thread-specific key %u has no namesake in "
                                  "the new version and stays in the old one",
                                  place->key);
    }
}
