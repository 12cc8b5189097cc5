#define _GNU_SOURCE
#include "switch.h"

#include <sys/mman.h>
#include <sys/resource.h>

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
