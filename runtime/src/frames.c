#define _GNU_SOURCE
/* The locals of noted functions (frames.h). */
#include "frames.h"

#include <stdlib.h>
#include <string.h>

#include "machine.h"

static __thread struct kitsune_frame *running;
static __thread struct kitsune_frame *suspended;
static __thread uint64_t suspended_count;

void kitsune__frames_enter(struct kitsune_frame *frame) {
    frame->head = &running;
    frame->outer = running;
    running = frame;
}

static void drop_below(uintptr_t stack_pointer) {
    while (running != NULL && (uintptr_t)running < stack_pointer)
        running = running->outer;
}

/*
 * How many frames of the list are what they seem to be. A jump that is no call of longjmp leaves the list
 * in disorder: it ends where it leaves the stack, or where no frame is. (Addresses alone tell no more:
 * frames of functions that the compiler put into one another lie in any order.)
 */
static uint64_t sound_frames(const struct kitsune_frame *frame, uintptr_t start, uintptr_t end) {
    uint64_t count = 0, most = (end - start) / sizeof *frame;
    while (frame != NULL && (uintptr_t)frame >= start && (uintptr_t)frame < end &&
           frame->head == &running && count < most) {
        frame = frame->outer;
        count++;
    }
    return count;
}

void kitsune__frames_jump(const struct __jmp_buf_tag *environment) {
    uintptr_t target = kitsune__jump_target(environment);
    if (target > (uintptr_t)__builtin_frame_address(0))
        drop_below(target);
}

void kitsune__frames_suspend(const void *stack_pointer, const void *stack_end) {
    uintptr_t start = (uintptr_t)stack_pointer;
    drop_below(start);
    suspended = running;
    suspended_count = sound_frames(suspended, start, (uintptr_t)stack_end);
    running = NULL;
}

void kitsune__frames_commit(void) {
    suspended = NULL;
    suspended_count = 0;
}

/* ---- looking into frames --------------------------------------------------------------------- */

static void *address_in(const struct kitsune_frame *frame, uint64_t frames,
                        const struct kitsune_symbol *symbol) {
    for (; frame != NULL && frames > 0; frame = frame->outer, frames--)
        for (uint64_t i = 0; i < frame->count; i++)
            if (frame->slots[i].symbol == symbol)
                return (void *)(uintptr_t)frame->slots[i].address;
    return NULL;
}

void *kitsune__frames_address(const struct kitsune_symbol *symbol) {
    void *address = address_in(running, UINT64_MAX, symbol);
    return address != NULL ? address : address_in(suspended, suspended_count, symbol);
}

const struct kitsune_symbol *kitsune__frames_symbol_at(const void *address) {
    for (const struct kitsune_frame *frame = running; frame != NULL; frame = frame->outer)
        for (uint64_t i = 0; i < frame->count; i++)
            if (frame->slots[i].symbol != NULL && frame->slots[i].address == address)
                return frame->slots[i].symbol;
    return NULL;
}

/* Non-zero if a symbol's key is `key`, with or without an ordinal behind it. */
static int is_named(const struct kitsune_symbol *symbol, const char *key, size_t length) {
    return symbol != NULL && strncmp(symbol->key, key, length) == 0 &&
           (symbol->key[length] == '\0' || symbol->key[length] == '.');
}

void *kitsune__frames_find(const char *key, int in_suspended) {
    size_t length = strlen(key);
    const struct kitsune_frame *frame = in_suspended ? suspended : running;
    uint64_t frames = in_suspended ? suspended_count : UINT64_MAX;
    for (; frame != NULL && frames > 0; frame = frame->outer, frames--)
        for (uint64_t i = frame->count; i-- > 0;)
            if (is_named(frame->slots[i].symbol, key, length))
                return (void *)(uintptr_t)frame->slots[i].address;
    return NULL;
}
