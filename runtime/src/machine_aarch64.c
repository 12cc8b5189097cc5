/* AArch64, AAPCS64 as Linux has it. */
#define _GNU_SOURCE
#include "machine.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <ucontext.h>

#define CALL_INSTRUCTION 0xd4000001u /* svc #0 */
#define NUMBER 8                     /* register of a system call's number, which it keeps */
#define BITS 10                      /* see platform_wait_aarch64.S */

static const mcontext_t *registers_of(const void *ucontext) {
    return &((const ucontext_t *)ucontext)->uc_mcontext;
}

static mcontext_t *changeable(void *ucontext) {
    return &((ucontext_t *)ucontext)->uc_mcontext;
}

static uint32_t instruction_at(uint64_t address) {
    return *(const uint32_t *)(uintptr_t)address;
}

/* ---- the interrupted code -------------------------------------------------------------------- */

void *kitsune__interrupted_at(const void *ucontext) {
    return (void *)(uintptr_t)registers_of(ucontext)->pc;
}

void *kitsune__interrupted_stack(const void *ucontext) {
    return (void *)(uintptr_t)registers_of(ucontext)->sp;
}

void kitsune__interrupted_continue_at(void *ucontext, const void *address) {
    changeable(ucontext)->pc = (uintptr_t)address;
}

long kitsune__interrupted_argument(const void *ucontext, unsigned index) {
    return (long)registers_of(ucontext)->regs[index];
}

long kitsune__interrupted_result(const void *ucontext) {
    return (long)registers_of(ucontext)->regs[0];
}

void kitsune__interrupted_return(void *ucontext, long result) {
    changeable(ucontext)->regs[0] = (uint64_t)result;
}

uint32_t kitsune__interrupted_bits(const void *ucontext) {
    return (uint32_t)registers_of(ucontext)->regs[BITS];
}

long kitsune__interrupted_before_call(const void *ucontext) {
    const mcontext_t *registers = registers_of(ucontext);
    return instruction_at(registers->pc) == CALL_INSTRUCTION ? (long)registers->regs[NUMBER] : -1;
}

int kitsune__interrupted_behind_call(const void *ucontext, long number) {
    const mcontext_t *registers = registers_of(ucontext);
    return registers->regs[NUMBER] == (uint64_t)number &&
           instruction_at(registers->pc - sizeof(uint32_t)) == CALL_INSTRUCTION;
}

void kitsune__interrupted_skip_call(void *ucontext, long result) {
    changeable(ucontext)->pc += sizeof(uint32_t);
    changeable(ucontext)->regs[0] = (uint64_t)result;
}

/* The result took the first argument's register. After EAGAIN, which says that the word was not as
 * expected, libc looks at the word and calls again. */
void kitsune__interrupted_wait_again(void *ucontext, long number) {
    (void)number;
    changeable(ucontext)->regs[0] = (uint64_t)-EAGAIN;
}

/* ---- threads --------------------------------------------------------------------------------- */

void kitsune__become_thread(void *thread_pointer) {
    __asm__ volatile("msr tpidr_el0, %0" : : "r"(thread_pointer) : "memory");
}

/* ---- code ------------------------------------------------------------------------------------ */

static int is_direct_call(uint32_t instruction) {
    return (instruction & 0xfc000000u) == 0x94000000u; /* bl */
}

/* Code is in words: whatever is not aligned is something else. */
int kitsune__is_return_address(const void *address) {
    if ((uintptr_t)address % sizeof(uint32_t) != 0)
        return 0;
    uint32_t before = instruction_at((uintptr_t)address - sizeof(uint32_t));
    return is_direct_call(before) || (before & 0xfffffc1fu) == 0xd63f0000u || /* blr */
           (before & 0xfefff800u) == 0xd63f0800u; /* blraa and its kin, of signed pointers */
}

const void *kitsune__call_target(const void *return_address) {
    uint32_t instruction = instruction_at((uintptr_t)return_address - sizeof(uint32_t));
    if (!is_direct_call(instruction))
        return NULL;
    int64_t words = (int64_t)((uint64_t)instruction << 38) >> 38; /* the low 26 bits, signed */
    return (const uint8_t *)return_address - sizeof(uint32_t) + words * 4;
}

/* ---- jumps ----------------------------------------------------------------------------------- */

#define KEPT_STACK_POINTER 13 /* of the words that glibc keeps */

/* glibc mixes it with a secret, by exclusive or; what it makes of a known one tells the secret. */
uintptr_t kitsune__jump_target(const struct __jmp_buf_tag *environment) {
#if defined(__GLIBC__)
    jmp_buf here;
    uintptr_t stack_pointer;
    __asm__ volatile("mov %0, sp" : "=r"(stack_pointer)); /* constant within a function */
    if (_setjmp(here) != 0)
        return 0;
    uintptr_t secret = (uintptr_t)here[0].__jmpbuf[KEPT_STACK_POINTER] ^ stack_pointer;
    uintptr_t target = (uintptr_t)environment->__jmpbuf[KEPT_STACK_POINTER] ^ secret;
    return target % 16 == 0 && target >> 48 == 0 ? target : 0;
#else
    (void)environment;
    return 0;
#endif
}
