#define _GNU_SOURCE
#include "switch.h"

#include <setjmp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "platform.h"

/* As far as a function with large arrays may jump below the stack's end and still fault. */
#define GUARD_SIZE ((size_t)1 << 20)
#define STACK_SIZE_MIN ((size_t)256 << 10)
#define STACK_SIZE_MAX ((size_t)64 << 20)
#define STACK_SIZE_UNLIMITED ((size_t)8 << 20)

static size_t stack_size(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_STACK, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return STACK_SIZE_UNLIMITED;
    size_t page = kitsune__page_size();
    size_t size = ((size_t)limit.rlim_cur + page - 1) / page * page;
    if (size < STACK_SIZE_MIN)
        return STACK_SIZE_MIN;
    return size > STACK_SIZE_MAX ? STACK_SIZE_MAX : size;
}

/* There in a build with AddressSanitizer, which keeps what it knew of a former stack at the address. */
void __asan_unpoison_memory_region(const volatile void *start, size_t size) __attribute__((weak));

int kitsune__stack_map(struct kitsune__stack *stack, size_t size_min) {
    size_t page = kitsune__page_size(), size = stack_size();
    if (size < size_min)
        size = (size_min + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, GUARD_SIZE + size, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED)
        return -1;
    if (mprotect(memory + GUARD_SIZE, size, PROT_READ | PROT_WRITE) != 0) {
        munmap(memory, GUARD_SIZE + size);
        return -1;
    }
    stack->guard = memory;
    stack->start = memory + GUARD_SIZE;
    stack->end = stack->start + size;
    if (__asan_unpoison_memory_region != NULL)
        __asan_unpoison_memory_region(stack->start, size);
    return 0;
}

void kitsune__stack_renew(const struct kitsune__stack *stack) {
    size_t size = (size_t)(stack->end - stack->start);
    madvise(stack->start, size, MADV_DONTNEED);
    if (__asan_unpoison_memory_region != NULL)
        __asan_unpoison_memory_region(stack->start, size);
}

void kitsune__stack_unmap(const struct kitsune__stack *stack) {
    if (stack->guard != NULL)
        munmap(stack->guard, (size_t)(stack->end - stack->guard));
}

int kitsune__stack_in_guard(const struct kitsune__stack *stack, const void *address) {
    const uint8_t *at = address;
    return at >= stack->guard && at < stack->start;
}

void *kitsune__interrupted_at(const void *ucontext) {
    const ucontext_t *context = ucontext;
#if defined(__x86_64__)
    return (void *)(uintptr_t)context->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
    return (void *)(uintptr_t)context->uc_mcontext.pc;
#endif
}

void kitsune__interrupted_continue_at(void *ucontext, const void *address) {
    ucontext_t *context = ucontext;
#if defined(__x86_64__)
    context->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)address;
#elif defined(__aarch64__)
    context->uc_mcontext.pc = (uintptr_t)address;
#endif
}

void *kitsune__interrupted_stack(const void *ucontext) {
    const ucontext_t *context = ucontext;
#if defined(__x86_64__)
    return (void *)(uintptr_t)context->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
    return (void *)(uintptr_t)context->uc_mcontext.sp;
#endif
}

const void *kitsune__call_target(const void *return_address) {
    const uint8_t *at = return_address;
#if defined(__x86_64__)
    int32_t distance;
    if (at[-5] != 0xe8) /* call rel32 */
        return NULL;
    memcpy(&distance, at - sizeof distance, sizeof distance);
    return at + distance;
#else
    (void)at;
    return NULL;
#endif
}

int kitsune__is_return_address(const void *address) {
#if defined(__x86_64__)
    const uint8_t *at = address;
    if (at[-5] == 0xe8) /* call rel32 */
        return 1;
    for (int length = 2; length <= 7; length++) /* call r/m64: ff /2 */
        if (at[-length] == 0xff && (at[1 - length] & 0x38) == 0x10)
            return 1;
    return 0;
#elif defined(__aarch64__)
    uint32_t before = ((const uint32_t *)address)[-1];
    return (before & 0xfc000000u) == 0x94000000u || /* bl */
           (before & 0xfffffc1fu) == 0xd63f0000u;   /* blr */
#endif
}

/* ---- jumps of the program --------------------------------------------------------------------- */

/* glibc keeps the stack pointer as the seventh word, mixed with a secret of the thread's. */
static uintptr_t kept_stack_pointer(const struct __jmp_buf_tag *environment) {
#if defined(__x86_64__) && defined(__GLIBC__)
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
