#define _GNU_SOURCE
#include "gather.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "outcome.h"
#include "platform.h"
#include "request.h"
#include "snapshot.h"
#include "stuck.h"
#include "thread.h"

#define NS_PER_MS 1000000ull
#define FIRST_KICK_NS 200000u
#define LAST_KICK_NS (10 * NS_PER_MS)
/* A thread that has ended is still listed for a moment. */
#define ENDING_NS (500 * NS_PER_MS)
#define SAMPLE_NS (50 * NS_PER_MS)

/* Shared, so that parked threads may write it; NULL: there never was another thread. */
static uint32_t *arrivals;
/* Threads that found no memory to park in. */
static uint32_t unplaced;
/* Address and value of a kick, which no other sender of SIGURG has. */
static char kick_mark;

uint32_t *kitsune__gather_arrivals(void) {
    return arrivals;
}

static int prepare(void) {
    if (arrivals != NULL)
        return 0;
    void *page =
        mmap(NULL, kitsune__page_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return -1;
    arrivals = page;
    return 0;
}

/* ---- kicks ---------------------------------------------------------------------------------- */

static void kick(pid_t tid) {
    siginfo_t info = {.si_signo = SIGURG, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_ptr = &kick_mark;
    KITSUNE__SYSCALL(SYS_rt_tgsigqueueinfo, info.si_pid, tid, SIGURG, &info);
}

int kitsune__gather_is_kick(const void *information, void *context) {
    const siginfo_t *info = information;
    if (info->si_code != SI_QUEUE || info->si_ptr != &kick_mark)
        return 0;
    if (kitsune__self != NULL && kitsune__self->sampled == KITSUNE__SAMPLE_WANTED)
        kitsune__stuck_sample(kitsune__self, context);
    if (kitsune__request_pending() & (KITSUNE__PENDING_GATHER | KITSUNE__PENDING_UPDATE))
        kitsune__wait_interrupt(context);
    return 1;
}

void kitsune__gather_kick_main(void) {
    kitsune__request_raise(KITSUNE__PENDING_INTERRUPT);
    kick(kitsune__main_thread->tid);
}

/* By the system call that libc makes for that: a filter that lets a thread be cancelled lets it pass. A
 * handler of the program would take such a signal for its own. */
void kitsune__gather_kick_cancelled(pthread_t thread) {
    if (!kitsune__kick_is_shared())
        pthread_kill(thread, SIGURG);
    else
        pthread_sigqueue(thread, SIGURG, (union sigval){.sival_ptr = &kick_mark});
}

void kitsune__gather_kick_all(void) {
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        if (thread->place == NULL && thread->tid != 0 && kitsune__thread_is_in_call(thread))
            kick(thread->tid);
    kitsune__threads_unlock();
}

static void call_back(void) {
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        if (thread->callback != NULL)
            thread->callback(thread->callback_argument);
    kitsune__threads_unlock();
}

/* ---- parking -------------------------------------------------------------------------------- */

/* Takes a place back if the gathering ended before it was seen. Else somebody will give it a command. */
static int was_too_late(struct kitsune__thread *thread) {
    kitsune__threads_lock();
    int is_late = !(kitsune__request_pending() & KITSUNE__PENDING_GATHER) && thread->place != NULL;
    if (is_late)
        thread->place = NULL;
    kitsune__threads_unlock();
    return is_late;
}

void kitsune__gather_park(const char *name) {
    struct kitsune__thread *thread = kitsune__self;
    struct kitsune__berth *place = kitsune__berth_map();
    snprintf(thread->point, sizeof thread->point, "%s", name);
    if (place == NULL) {
        __atomic_fetch_add(&unplaced, 1u, __ATOMIC_SEQ_CST);
        return;
    }
    kitsune__berth_take(place);
    __atomic_store_n(&thread->place, place, __ATOMIC_RELEASE);
    if (!was_too_late(thread))
        kitsune__park(place, arrivals);
    kitsune__berth_unmap(place);
}

static int is_parked(const struct kitsune__thread *thread) {
    struct kitsune__berth *place = __atomic_load_n(&thread->place, __ATOMIC_ACQUIRE);
    return place != NULL && kitsune__park_is_parked(place);
}

static int all_parked(void) {
    kitsune__threads_lock();
    struct kitsune__thread *thread = kitsune__threads();
    while (thread != NULL && is_parked(thread))
        thread = thread->next;
    kitsune__threads_unlock();
    return thread == NULL;
}

static int is_untracked(void *context, int tid) {
    (void)context;
    return tid != kitsune__main_thread->tid && kitsune__thread_of(tid) == NULL &&
                   !kitsune__thread_is_sanitizers(tid)
               ? tid
               : 0;
}

/* A thread that is not tracked: 0 if there is none. */
static pid_t find_untracked(void) {
    kitsune__threads_lock();
    int found = kitsune__each_thread(is_untracked, NULL);
    kitsune__threads_unlock();
    return found > 0 ? found : 0;
}

static void let_go(struct kitsune__thread *thread) {
    struct kitsune__berth *place = thread->place;
    if (place == NULL)
        return;
    __atomic_store_n(&thread->place, NULL, __ATOMIC_RELEASE);
    kitsune__park_command(place, KITSUNE__GO_BACK);
}

void kitsune__gather_undo(void) {
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        let_go(thread);
    kitsune__threads_unlock();
}

void kitsune__gather_drop_in_child(void) {
    arrivals = NULL;
}

/* ---- the wait ------------------------------------------------------------------------------- */

static void wait_for_arrival(uint32_t seen, uint64_t limit_ns) {
    struct timespec limit = {(time_t)(limit_ns / 1000000000u), (long)(limit_ns % 1000000000u)};
    KITSUNE__SYSCALL(SYS_futex, arrivals, FUTEX_WAIT, seen, &limit);
}

/* Returns 0 when all have come, else a code. */
static uint32_t await_all(uint64_t deadline) {
    uint64_t pause = FIRST_KICK_NS;
    for (;;) {
        uint32_t seen = __atomic_load_n(arrivals, __ATOMIC_SEQ_CST);
        if (all_parked()) {
            kitsune__park_meet();
            return 0;
        }
        if (__atomic_load_n(&unplaced, __ATOMIC_SEQ_CST) > 0)
            return KITSUNE__NO_MEMORY;
        if (kitsune__now_ns() >= deadline)
            return KITSUNE__NOT_REACHED;
        kitsune__gather_kick_all();
        wait_for_arrival(seen, pause);
        pause = pause * 2 > LAST_KICK_NS ? LAST_KICK_NS : pause * 2;
    }
}

static pid_t await_ending(uint64_t deadline) {
    uint64_t end = kitsune__now_ns() + ENDING_NS;
    pid_t found;
    while ((found = find_untracked()) != 0 && kitsune__now_ns() < (end < deadline ? end : deadline))
        wait_for_arrival(__atomic_load_n(arrivals, __ATOMIC_SEQ_CST), NS_PER_MS);
    return found;
}

static int is_sampling(void) {
    struct kitsune__thread *thread = kitsune__threads();
    while (thread != NULL && thread->sampled != KITSUNE__SAMPLE_WANTED)
        thread = thread->next;
    return thread != NULL;
}

/* Has those that run the program's code say where. A signal would end a call that the kernel does not
 * restart, so others get none. */
static void sample_running(void) {
    uint64_t end = kitsune__now_ns() + SAMPLE_NS;
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL;
         thread = thread->next) {
        thread->sampled = KITSUNE__NOT_SAMPLED;
        if (is_parked(thread) || thread->tid == 0 || !kitsune__stuck_is_running(thread->tid))
            continue;
        thread->sampled = KITSUNE__SAMPLE_WANTED;
        kick(thread->tid);
    }
    while (is_sampling() && kitsune__now_ns() < end)
        wait_for_arrival(__atomic_load_n(arrivals, __ATOMIC_SEQ_CST), NS_PER_MS);
    kitsune__threads_unlock();
}

/* Fills the report; returns how many threads are missing. */
static unsigned look_at_missing(struct kitsune__report *report) {
    unsigned missing = 0;
    sample_running();
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        if (!is_parked(thread) && missing++ < KITSUNE__NAMED)
            kitsune__stuck_look(&report->threads[report->thread_count++], thread->tid, thread);
    kitsune__threads_unlock();
    return missing;
}

static void describe_missing(char *reason, size_t size) {
    struct kitsune__report *report = kitsune__request_report();
    unsigned missing = look_at_missing(report);
    size_t length = 0;
    for (uint32_t i = 0; i < report->thread_count; i++) {
        const struct kitsune__stuck *stuck = &report->threads[i];
        length += kitsune__format(reason + length, size - length,
                                  stuck->tid ? "%sthread %d '%s' did not reach an update point: "
                                             : "%sa thread was created: ",
                                  i ? "; " : "", stuck->tid, stuck->name);
        length += kitsune__stuck_text(stuck, reason + length, size - length);
    }
    if (missing > KITSUNE__NAMED)
        kitsune__format(reason + length, size - length, "; and %u more", missing - KITSUNE__NAMED);
}

static uint32_t refuse_untracked(pid_t tid, char *reason, size_t size) {
    char name[17];
    kitsune__stuck_name(tid, name, sizeof name);
    kitsune__format(
        reason, size,
        "thread %d '%s' was not made by the program's own code, but by a library: nobody "
        "knows how to stop it",
        tid, name);
    return KITSUNE__THREADS;
}

static uint32_t gather(uint64_t limit_ns, char *reason, size_t size) {
    uint64_t deadline = kitsune__now_ns() + limit_ns;
    pid_t untracked;
    uint32_t code = KITSUNE__NO_MEMORY;
    unplaced = 0;
    if (prepare() == 0) {
        kitsune__request_raise(KITSUNE__PENDING_GATHER);
        call_back();
        code = await_all(deadline);
    }
    if (code == KITSUNE__NO_MEMORY)
        kitsune__format(reason, size, "no memory to stop the threads");
    else if (code == KITSUNE__NOT_REACHED)
        describe_missing(reason, size);
    if (code != 0)
        return code;
    untracked = await_ending(deadline);
    return untracked != 0 ? refuse_untracked(untracked, reason, size) : 0;
}

static uint32_t list_places(struct kitsune__berth **places, char *reason, size_t size) {
    uint32_t count = 0;
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL;
         thread = thread->next, count++) {
        thread->place->next = *places;
        *places = thread->place;
    }
    if (count < KITSUNE__AREAS_MAX)
        return 0;
    kitsune__format(reason, size, "the program has %u threads; at most %u can be updated",
                    count + 1, KITSUNE__AREAS_MAX);
    return KITSUNE__THREADS;
}

uint32_t kitsune__gather(uint64_t limit_ns, struct kitsune__berth **places, char *reason,
                         size_t size) {
    *places = NULL;
    if (kitsune__threads() == NULL && kitsune__thread_count() <= 1)
        return 0;
    uint32_t code = gather(limit_ns, reason, size);
    if (code == 0)
        code = list_places(places, reason, size);
    /* Nobody is to park from here on, and no call of the new version is to end early. */
    kitsune__request_lower(KITSUNE__PENDING_GATHER);
    if (code != 0)
        kitsune__gather_undo();
    return code;
}
