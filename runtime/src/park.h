/*
 * Parked threads: one that stands at its update point waits here while another one carries the update
 * out.
 *
 * Invariants:
 *  - A parked thread runs on a stack in its place, a shared mapping, has all signals blocked and
 *    writes no private memory: a snapshot that is taken then is exact, and a rollback can restore
 *    every byte of private memory below its feet.
 *  - It leaves by a command of the thread that carries the update out. At most one command is under way.
 *
 *   command  | who gives it           | the thread goes on
 *   ---------+------------------------+---------------------------------------------------------
 *   GO_BACK  | rollback, withdrawal   | in `old`: the old version's update point
 *   START    | transaction            | in entry(argument) on `stack`: the new version
 *   GO_ON    | commit; a hand-over    | in `new`: the new version's update point
 *   VANISH   | rollback               | not at all: a thread that the transaction made
 */
#ifndef KITSUNE_PARK_H
#define KITSUNE_PARK_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include "switch.h"

enum kitsune__command {
    KITSUNE__STAY = 0,
    KITSUNE__GO_BACK,
    KITSUNE__START,
    KITSUNE__GO_ON,
    KITSUNE__VANISH
};

#define KITSUNE__PARK_STACK_SIZE 32768u

/* What the kernel keeps for each thread and a thread may change. */
struct kitsune__traits {
    char name[16];
    uint64_t cpus[16];
    long cpus_size; /* 0: not known */
    long policy;
    int priority, nice;
    unsigned long timer_slack_ns;
    int death_signal; /* that it gets when its parent ends */
};

/* Of the calling thread. What is as it was is not set again. */
void kitsune__traits_save(struct kitsune__traits *traits);
void kitsune__traits_restore(const struct kitsune__traits *traits);

struct kitsune__berth {
    uint32_t command; /* enum kitsune__command, a futex */
    uint32_t is_parked;
    uint32_t is_undone; /* a transaction was rolled back meanwhile */
    struct kitsune__context old, new;
    /* What START runs, and on which stack. */
    struct kitsune__stack stack;
    void (*entry)(void *);
    void *argument;
    /* What the kernel had for the thread when it parked. */
    uint64_t mask, pending;
    stack_t altstack;
    struct kitsune__traits traits;
    pid_t tid;
    void *thread_pointer;
    void *rseq;                   /* the thread's area that the kernel writes; NULL: none */
    struct kitsune__berth *next;  /* of those that take part in a transaction */
    struct kitsune__berth *first; /* of the thread that began it, when this one hands over to it */
    uint8_t memory[KITSUNE__PARK_STACK_SIZE] __attribute__((aligned(64)));
};

/* Makes a place. NULL if there is no memory. */
struct kitsune__berth *kitsune__berth_map(void);
/* It becomes the calling thread's. */
void kitsune__berth_take(struct kitsune__berth *place);
void kitsune__berth_unmap(struct kitsune__berth *place);
/* The end of the place's stack, for kitsune__suspend and kitsune__leave_for. */
void *kitsune__berth_stack(struct kitsune__berth *place);

/*
 * Parks the calling thread in its place: blocks its signals and waits. `arrivals` is counted up and
 * woken once it is parked; it must be no private memory. Returns after GO_BACK, with signals and
 * alternate stack as before; after START, never.
 */
void kitsune__park(struct kitsune__berth *place, uint32_t *arrivals);

/* Waits for a command and obeys it. Only on the place's own stack, with all signals blocked. */
void kitsune__park_wait(void *place) __attribute__((noreturn));

/* The calling thread's area that the kernel writes (rseq); NULL: none. */
void *kitsune__rseq_area(void);
/* Of the calling thread: what the kernel would write into private memory, at the thread's end or before,
 * is called off. That memory may then go. */
void kitsune__park_call_off(const struct kitsune__berth *place);
/* Stores a value, wakes who waits for the word, and ends the calling thread, without a stack: that may
 * be unmapped as soon as the value is there (platform_*.S). */
void kitsune__tell_and_end(uint32_t *word, uint32_t value) __attribute__((noreturn));

/* The calling thread found others parked: what they did comes before what it does. */
void kitsune__park_meet(void);
/* Any context. */
void kitsune__park_command(struct kitsune__berth *place, enum kitsune__command command);
int kitsune__park_is_parked(const struct kitsune__berth *place);

#endif
