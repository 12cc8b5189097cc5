#define _GNU_SOURCE
/* The locals of noted functions (frames.h). */
#include "frames.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "switch.h"

static __thread struct kitsune_frame *running;
static __thread struct kitsune_frame *suspended;

void kitsune__frames_enter(struct kitsune_frame *frame) {
    frame->head = &running;
    frame->outer = running;
    running = frame;
}

static void drop_below(uintptr_t stack_pointer) {
    while (running != NULL && (uintptr_t)running < stack_pointer)
        running = running->outer;
}

void kitsune__frames_suspend(const void *stack_pointer) {
    drop_below((uintptr_t)stack_pointer);
    suspended = running;
    running = NULL;
}

void kitsune__frames_commit(void) {
    suspended = NULL;
}

/* ---- looking into frames --------------------------------------------------------------------- */

static void *address_in(const struct kitsune_frame *frame, const struct kitsune_symbol *symbol) {
    for (; frame != NULL; frame = frame->outer)
        for (uint64_t i = 0; i < frame->count; i++)
            if (frame->slots[i].symbol == symbol)
                return (void *)(uintptr_t)frame->slots[i].address;
    return NULL;
}

void *kitsune__frames_address(const struct kitsune_symbol *symbol) {
    void *address = address_in(running, symbol);
    return address != NULL ? address : address_in(suspended, symbol);
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
    for (; frame != NULL; frame = frame->outer)
        for (uint64_t i = frame->count; i-- > 0;)
            if (is_named(frame->slots[i].symbol, key, length))
                return (void *)(uintptr_t)frame->slots[i].address;
    return NULL;
}

/* ---- jumps over frames ----------------------------------------------------------------------- */

/* Frames that are jumped over are still whole now; afterwards anything may be written there. A jump
 * to a lower address leads to another stack, of which nothing is known. */
static void jump(const struct __jmp_buf_tag *environment) {
    uintptr_t target = kitsune__jump_target(environment);
    if (target > (uintptr_t)__builtin_frame_address(0))
        drop_below(target);
}

void kitsune__call_longjmp(struct __jmp_buf_tag *environment, int value) {
    jump(environment);
    longjmp(environment, value);
}

void kitsune__call__longjmp(struct __jmp_buf_tag *environment, int value) {
    jump(environment);
    _longjmp(environment, value);
}

void kitsune__call_siglongjmp(struct __jmp_buf_tag *environment, int value) {
    jump(environment);
    siglongjmp(environment, value);
}

/* What _FORTIFY_SOURCE makes of each; it checks for itself that the jump leads outwards. */
extern void __longjmp_chk(struct __jmp_buf_tag *environment, int value) __attribute__((noreturn));
void kitsune__call___longjmp_chk(struct __jmp_buf_tag *environment, int value) {
    jump(environment);
    __longjmp_chk(environment, value);
}
