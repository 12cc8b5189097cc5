/* x86-64, System V. */
#define _GNU_SOURCE
#include "machine.h"

#include <asm/prctl.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "platform.h"

static const uint8_t call_instruction[] = {0x0f, 0x05}; /* syscall */

static const greg_t *registers_of(const void *ucontext) {
    return ((const ucontext_t *)ucontext)->uc_mcontext.gregs;
}

static greg_t *changeable(void *ucontext) {
    return ((ucontext_t *)ucontext)->uc_mcontext.gregs;
}

/* ---- the interrupted code -------------------------------------------------------------------- */

void *kitsune__interrupted_at(const void *ucontext) {
    return (void *)(uintptr_t)registers_of(ucontext)[REG_RIP];
}

void *kitsune__interrupted_stack(const void *ucontext) {
    return (void *)(uintptr_t)registers_of(ucontext)[REG_RSP];
}

void kitsune__interrupted_continue_at(void *ucontext, const void *address) {
    changeable(ucontext)[REG_RIP] = (greg_t)(uintptr_t)address;
}

long kitsune__interrupted_argument(const void *ucontext, unsigned index) {
    static const uint8_t order[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    return (long)registers_of(ucontext)[order[index]];
}

long kitsune__interrupted_result(const void *ucontext) {
    return (long)registers_of(ucontext)[REG_RAX];
}

void kitsune__interrupted_return(void *ucontext, long result) {
    changeable(ucontext)[REG_RAX] = result;
}

uint32_t kitsune__interrupted_bits(const void *ucontext) {
    return (uint32_t)registers_of(ucontext)[REG_RBP];
}

long kitsune__interrupted_before_call(const void *ucontext) {
    const greg_t *registers = registers_of(ucontext);
    int is_before = memcmp((const void *)(uintptr_t)registers[REG_RIP], call_instruction,
                           sizeof call_instruction) == 0;
    return is_before ? (long)registers[REG_RAX] : -1;
}

/* The number is gone: the result took its register. */
int kitsune__interrupted_behind_call(const void *ucontext, long number) {
    const uint8_t *at = kitsune__interrupted_at(ucontext);
    (void)number;
    return memcmp(at - sizeof call_instruction, call_instruction, sizeof call_instruction) == 0;
}

void kitsune__interrupted_skip_call(void *ucontext, long result) {
    changeable(ucontext)[REG_RIP] += sizeof call_instruction;
    changeable(ucontext)[REG_RAX] = result;
}

void kitsune__interrupted_wait_again(void *ucontext, long number) {
    changeable(ucontext)[REG_RIP] -= sizeof call_instruction;
    changeable(ucontext)[REG_RAX] = number;
}

/* ---- threads --------------------------------------------------------------------------------- */

void kitsune__become_thread(void *thread_pointer) {
    KITSUNE__SYSCALL(SYS_arch_prctl, ARCH_SET_FS, thread_pointer);
}

/* ---- code ------------------------------------------------------------------------------------ */

int kitsune__is_return_address(const void *address) {
    const uint8_t *at = address;
    if (at[-5] == 0xe8) /* call rel32 */
        return 1;
    for (int length = 2; length <= 7; length++) /* call r/m64: ff /2 */
        if (at[-length] == 0xff && (at[1 - length] & 0x38) == 0x10)
            return 1;
    return 0;
}

const void *kitsune__call_target(const void *return_address) {
    const uint8_t *at = return_address;
    int32_t distance;
    if (at[-5] != 0xe8) /* call rel32 */
        return NULL;
    memcpy(&distance, at - sizeof distance, sizeof distance);
    return at + distance;
}

/* ---- jumps ----------------------------------------------------------------------------------- */

/* glibc keeps the stack pointer as the seventh word, mixed with a secret of the thread's. */
static uintptr_t kept_stack_pointer(const struct __jmp_buf_tag *environment) {
#if defined(__GLIBC__)
    uintptr_t kept = (uintptr_t)environment->__jmpbuf[6], secret;
    __asm__("movq %%fs:0x30, %0" : "=r"(secret));
    return (kept >> 17 | kept << 47) ^ secret;
#else
    (void)environment;
    return 0;
#endif
}

uintptr_t kitsune__jump_target(const struct __jmp_buf_tag *environment) {
    jmp_buf here;
    uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    /* Does this libc do so? Its stack pointer of here lies close below this frame. */
    if (_setjmp(here) != 0 || frame - kept_stack_pointer(here) > 4096)
        return 0;
    return kept_stack_pointer(environment);
}
