#define _GNU_SOURCE
#include "park.h"

#include <linux/futex.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include "machine.h"
#include "platform.h"
#include "sanitizer.h"

#define KERNEL_SET_SIZE 8
#define CHANGE_OF_USER 33 /* glibc's SIGSETXID */
#define RSEQ_FLAG_UNREGISTER 1
#define ROBUST_HEAD_SIZE 24

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

void *kitsune__rseq_area(void) {
    if (&__rseq_offset == NULL || &__rseq_size == NULL || __rseq_size == 0)
        return NULL;
    return (uint8_t *)__builtin_thread_pointer() + __rseq_offset;
}

void kitsune__traits_save(struct kitsune__traits *traits) {
    long size =
        KITSUNE__SYSCALL(SYS_sched_getaffinity, 0, sizeof traits->cpus, (uint8_t *)traits->cpus);
    traits->cpus_size = size > 0 ? size : 0;
    KITSUNE__SYSCALL(SYS_prctl, PR_GET_NAME, traits->name);
    traits->priority = 0;
    traits->policy = KITSUNE__SYSCALL(SYS_sched_getscheduler, 0);
    KITSUNE__SYSCALL(SYS_sched_getparam, 0, &traits->priority);
    traits->timer_slack_ns = (unsigned long)KITSUNE__SYSCALL(SYS_prctl, PR_GET_TIMERSLACK);
    traits->death_signal = 0;
    KITSUNE__SYSCALL(SYS_prctl, PR_GET_PDEATHSIG, &traits->death_signal);
    traits->nice = 20 - (int)KITSUNE__SYSCALL(SYS_getpriority, PRIO_PROCESS, 0);
}

void kitsune__traits_restore(const struct kitsune__traits *traits) {
    struct kitsune__traits now;
    kitsune__traits_save(&now);
    if (memcmp(now.name, traits->name, sizeof now.name) != 0)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_NAME, traits->name);
    if (traits->cpus_size > 0 && memcmp(now.cpus, traits->cpus, (size_t)traits->cpus_size) != 0)
        KITSUNE__SYSCALL(SYS_sched_setaffinity, 0, traits->cpus_size, traits->cpus);
    if (now.policy != traits->policy || now.priority != traits->priority)
        KITSUNE__SYSCALL(SYS_sched_setscheduler, 0, traits->policy, &traits->priority);
    if (now.timer_slack_ns != traits->timer_slack_ns)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_TIMERSLACK, traits->timer_slack_ns);
    if (now.death_signal != traits->death_signal)
        KITSUNE__SYSCALL(SYS_prctl, PR_SET_PDEATHSIG, traits->death_signal);
    if (now.nice != traits->nice)
        KITSUNE__SYSCALL(SYS_setpriority, PRIO_PROCESS, 0, traits->nice);
}

struct kitsune__berth *kitsune__berth_map(void) {
    void *memory = mmap(NULL, sizeof(struct kitsune__berth), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    return memory;
}

void kitsune__berth_take(struct kitsune__berth *place) {
    place->tid = (pid_t)KITSUNE__SYSCALL(SYS_gettid);
    place->thread_pointer = __builtin_thread_pointer();
    place->rseq = kitsune__rseq_area();
}

void kitsune__berth_unmap(struct kitsune__berth *place) {
    munmap(place, sizeof *place);
}

void *kitsune__berth_stack(struct kitsune__berth *place) {
    return place->memory + sizeof place->memory;
}

/* Where those meet that park, for ThreadSanitizer. */
static char meeting;

void kitsune__park_meet(void) {
    kitsune__tsan_after(&meeting);
}

void kitsune__park_command(struct kitsune__berth *place, enum kitsune__command command) {
    kitsune__tsan_before(&meeting);
    __atomic_store_n(&place->command, command, __ATOMIC_SEQ_CST);
    /* The thread may be gone by now, and its place with it: then this wakes nobody. */
    KITSUNE__SYSCALL(SYS_futex, &place->command, FUTEX_WAKE, 1);
}

int kitsune__park_is_parked(const struct kitsune__berth *place) {
    return __atomic_load_n(&place->is_parked, __ATOMIC_SEQ_CST) != 0;
}

void kitsune__park_call_off(const struct kitsune__berth *place) {
    if (place->rseq != NULL)
        KITSUNE__SYSCALL(SYS_rseq, place->rseq, 32, RSEQ_FLAG_UNREGISTER, KITSUNE__RSEQ_SIGNATURE);
    KITSUNE__SYSCALL(SYS_set_robust_list, 0, ROBUST_HEAD_SIZE);
    KITSUNE__SYSCALL(SYS_set_tid_address, 0);
}

__attribute__((noreturn)) static void vanish(struct kitsune__berth *place) {
    kitsune__park_call_off(place);
    for (;;)
        KITSUNE__SYSCALL(SYS_exit, 0);
}

void kitsune__park_wait(void *argument) {
    struct kitsune__berth *place = argument;
    for (;;) {
        uint32_t command = __atomic_exchange_n(&place->command, KITSUNE__STAY, __ATOMIC_SEQ_CST);
        if (command != KITSUNE__STAY)
            kitsune__tsan_after(&meeting);
        switch (command) {
        case KITSUNE__GO_BACK:
            kitsune__resume(&place->old, 1);
        case KITSUNE__START:
            kitsune__leave_for(place->stack.end, place->entry, place->argument);
        case KITSUNE__GO_ON:
            kitsune__resume(&place->new, 1);
        case KITSUNE__VANISH:
            vanish(place);
        default:
            KITSUNE__SYSCALL(SYS_futex, &place->command, FUTEX_WAIT, KITSUNE__STAY, 0);
        }
    }
}

/* The first thing on the place's stack: from here on nothing private is written. */
struct arrival {
    struct kitsune__berth *place;
    uint32_t *arrivals;
};

static void arrive(void *argument) {
    struct arrival *on_old_stack = argument;
    struct arrival arrival = *on_old_stack;
    __atomic_store_n(&arrival.place->is_parked, 1u, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(arrival.arrivals, 1u, __ATOMIC_SEQ_CST);
    KITSUNE__SYSCALL(SYS_futex, arrival.arrivals, FUTEX_WAKE, 1);
    kitsune__park_wait(arrival.place);
}

/* By this signal libc has every thread change its user or groups. In a transaction the parked ones do not
 * answer; after a rollback nothing is left of what it asks for, and its handler would crash. */
static void drop_change_of_user(const struct kitsune__berth *place) {
    const uint64_t set = 1ull << (CHANGE_OF_USER - 1);
    const struct timespec none = {0, 0};
    if (place->is_undone && !(place->pending & set))
        KITSUNE__SYSCALL(SYS_rt_sigtimedwait, &set, 0, &none, KERNEL_SET_SIZE);
}

void kitsune__park(struct kitsune__berth *place, uint32_t *arrivals) {
    struct arrival arrival = {place, arrivals};
    uint64_t all = ~0ull;
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &place->mask, KERNEL_SET_SIZE);
    KITSUNE__SYSCALL(SYS_rt_sigpending, &place->pending, KERNEL_SET_SIZE);
    KITSUNE__SYSCALL(SYS_sigaltstack, 0, &place->altstack);
    kitsune__traits_save(&place->traits);
    kitsune__tsan_before(&meeting);
    kitsune__suspend(&place->old, kitsune__berth_stack(place), arrive, &arrival);
    uint64_t mask = place->mask;
    drop_change_of_user(place);
    kitsune__traits_restore(&place->traits);
    KITSUNE__SYSCALL(SYS_sigaltstack, &place->altstack, 0);
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, KERNEL_SET_SIZE);
}
