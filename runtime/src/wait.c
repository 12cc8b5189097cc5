#define _GNU_SOURCE
#include "wait.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "block.h"
#include "calls.h"
#include "control.h"
#include "gather.h"
#include "machine.h"
#include "platform.h"
#include "thread.h"

#define WOKEN KITSUNE__WOKEN
#define KERNEL_SIGSET_SIZE 8
#define PATIENCE_NS KITSUNE__PATIENCE_NS

#ifdef SYS_epoll_wait
#define EPOLL_WAIT SYS_epoll_wait
#else
#define EPOLL_WAIT SYS_epoll_pwait /* without a mask it is the same */
#endif

#define unlikely(condition) __builtin_expect(!!(condition), 0)

extern const char kitsune__wait_begin[], kitsune__wait_end[], kitsune__wait_woken[];
extern const char kitsune__uncancelled_begin[], kitsune__uncancelled_end[],
    kitsune__uncancelled_woken[];
extern const char kitsune__poll_begin[], kitsune__poll_end[], kitsune__poll_woken[];
extern const char kitsune__epoll_wait_begin[], kitsune__epoll_wait_end[],
    kitsune__epoll_wait_woken[];
extern const char kitsune__read_begin[], kitsune__read_end[], kitsune__read_woken[];
extern const char kitsune__recv_begin[], kitsune__recv_end[], kitsune__recv_woken[];
extern const char kitsune__recvmsg_begin[], kitsune__recvmsg_end[], kitsune__recvmsg_woken[];

/* What the assembly jumps to (platform_wait_*.S). */
int kitsune__poll_slowly(struct pollfd *fds, nfds_t count, int timeout_ms);
int kitsune__epoll_wait_slowly(int epoll, struct epoll_event *events, int capacity, int timeout_ms);
long kitsune__wait_failed(long result);

/* A block of assembly: from the test of the gate to behind the system call, and its way out. Of a quick
 * call with its name, at its number. */
enum { CANCELLED = 0, UNCANCELLED = 6 };

static const struct {
    const char *begin, *end, *woken, *name;
} blocks[] = {
    [CANCELLED] = {kitsune__wait_begin, kitsune__wait_end, kitsune__wait_woken, NULL},
    {kitsune__poll_begin, kitsune__poll_end, kitsune__poll_woken, "poll"},
    {kitsune__epoll_wait_begin, kitsune__epoll_wait_end, kitsune__epoll_wait_woken, "epoll_wait"},
    {kitsune__read_begin, kitsune__read_end, kitsune__read_woken, "read"},
    {kitsune__recv_begin, kitsune__recv_end, kitsune__recv_woken, "recv"},
    {kitsune__recvmsg_begin, kitsune__recvmsg_end, kitsune__recvmsg_woken, "recvmsg"},
    [UNCANCELLED] = {kitsune__uncancelled_begin, kitsune__uncancelled_end,
                     kitsune__uncancelled_woken, NULL},
};

const uint32_t kitsune__no_gate;
#define no_gate kitsune__no_gate

/* ---- cancellation --------------------------------------------------------------------------- */

/* All bits set: quick calls do not wait on it. */
static const uint32_t closed_gate = ~0u;
/* What the quick calls test. Closed until the kick's handler is there. */
const uint32_t *kitsune__quick_gate = &closed_gate;
/* Threads may be cancelled; never taken back. */
uint32_t kitsune__wait_cancels;

_Thread_local volatile uint8_t kitsune__in_call;

static int may_be_cancelled(void) {
    return __atomic_load_n(&kitsune__wait_cancels, __ATOMIC_SEQ_CST) != 0;
}

void kitsune__wait_open(const uint32_t *gate) {
    __atomic_store_n(&kitsune__quick_gate, gate, __ATOMIC_SEQ_CST);
    if (may_be_cancelled())
        __atomic_store_n(&kitsune__quick_gate, &closed_gate, __ATOMIC_SEQ_CST);
}

void kitsune__wait_expect_cancels(void) {
    __atomic_store_n(&kitsune__wait_cancels, 1u, __ATOMIC_SEQ_CST);
    __atomic_store_n(&kitsune__quick_gate, &closed_gate, __ATOMIC_SEQ_CST);
}

const char *kitsune__quick_name(uint8_t number) {
    return number < sizeof blocks / sizeof blocks[0] ? blocks[number].name : NULL;
}

/* In a signal handler of the program that interrupted a call nothing would come back to the call's block,
 * so it is done here, as libc does it in the handler of its own signal. */
void kitsune__wait_cancel(void *context) {
    int type;
    uint8_t number;

    if (!may_be_cancelled() || kitsune__wait_interrupt(context) || kitsune__in_call == 0)
        return;
    number = kitsune__in_call;
    kitsune__in_call = 0; /* not in the thread's cleanup handlers */
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
    pthread_setcanceltype(type, NULL);
    kitsune__in_call = number;
}

/* A system call and where its time limit stands: an int of milliseconds among the arguments, or a
 * copy of a timespec that the kernel counts down. */
struct call {
    const char *name;
    long number;
    long arguments[6];
    unsigned limit_at; /* index among the arguments */
    int limit_is_ms;
    fd_set *sets[3]; /* in and out at once (select): must be filled again for a second try */
    size_t set_size; /* bytes of each; 0: none */
};

static int (*idle_work)(void);

void kitsune__wait_set_idle_work(int (*slice)(void)) {
    idle_work = slice;
}

/* ---- the kick ------------------------------------------------------------------------------ */

/* Whether a call that was interrupted in the block is to go on: these bits are what it waits for. The
 * quick calls wait for all. */
static int goes_on(unsigned block, uint32_t bits) {
    if (kitsune__request_pending() & bits)
        return 0;
    return block == CANCELLED || (block == UNCANCELLED && !may_be_cancelled());
}

int kitsune__wait_interrupt(void *context) {
    const char *at = kitsune__interrupted_at(context);

    for (unsigned i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        if (at < blocks[i].begin || at > blocks[i].end)
            continue;
        if (at == blocks[i].end && kitsune__interrupted_result(context) == -EINTR)
            kitsune__interrupted_return(context, WOKEN);
        else if (at < blocks[i].end && !goes_on(i, kitsune__interrupted_bits(context)))
            kitsune__interrupted_continue_at(context, blocks[i].woken);
        return 1;
    }
    kitsune__block_interrupt(context);
    /* A signal of the program that came at the same time has its frame between the call and ours: then
     * `at` is that handler's first instruction, and EINTR is what the program gets. */
    return 0;
}

/* ---- one system call ----------------------------------------------------------------------- */

static uint32_t waking(void) {
    return kitsune__is_main()      ? KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_SERVICE
           : kitsune__self != NULL ? KITSUNE__PENDING_GATHER
                                   : 0;
}

long kitsune__wait_enter(const char *name, const uint32_t *gate, uint32_t bits, long number,
                         const long arguments[6]) {
    long result = WOKEN;
    int type;

    kitsune__note_call(name, arguments[0]);
    if (!may_be_cancelled())
        result = kitsune__wait_uncancelled(gate, bits, number, arguments);
    if (unlikely(result == WOKEN) && may_be_cancelled()) {
        /* As libc does: these calls are cancellation points. */
        pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
        result = kitsune__wait_call(gate, bits, number, arguments);
        pthread_setcanceltype(type, NULL);
    }
    kitsune__note_call(NULL, 0);
    return result;
}

static long enter(const uint32_t *gate, const struct call *call) {
    return kitsune__wait_enter(call->name, gate, waking(), call->number, call->arguments);
}

static uint64_t nanoseconds(const struct timespec *time) {
    /* The kernel takes no more than 2^63 ns either; invalid times are left to it. */
    if (time->tv_sec < 0 || time->tv_sec > INT64_MAX / 1000000000 - 1)
        return INT64_MAX;
    return (uint64_t)time->tv_sec * 1000000000u + (uint64_t)time->tv_nsec;
}

static struct timespec timespec_of(uint64_t ns) {
    return (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
}

/* The time limit in ns; UINT64_MAX if there is none. */
static uint64_t limit_of(const struct call *call) {
    long limit = call->arguments[call->limit_at];

    if (call->limit_is_ms)
        return (int)limit < 0 ? UINT64_MAX : (uint64_t)(int)limit * 1000000u;
    return limit ? nanoseconds((struct timespec *)limit) : UINT64_MAX;
}

/* The call with at most `ns`, not ended by the gate; counts the caller's time down. */
static long enter_limited(const struct call *call, uint64_t ns) {
    struct call shorter = *call;
    struct timespec limit = timespec_of(ns);
    uint64_t given = limit_of(call);
    long result;

    if (given <= ns)
        return enter(&no_gate, call);
    shorter.arguments[call->limit_at] = call->limit_is_ms ? (long)(ns / 1000000u) : (long)&limit;
    result = enter(&no_gate, &shorter);
    if (!call->limit_is_ms && given != UINT64_MAX)
        *(struct timespec *)call->arguments[call->limit_at] =
            timespec_of(given - ns + nanoseconds(&limit));
    return result;
}

/* What is ready now, without blocking. */
static long peek(const struct call *call) {
    long result;

    do
        result = enter_limited(call, 0);
    while (result == WOKEN);
    return result;
}

/* ---- ended by a request -------------------------------------------------------------------- */

/* A request waits: what is ready is reported, or nothing as if the time were over. */
static long end_early(const struct call *call) {
    long result = WOKEN;

    if (kitsune__wait_has_ended())
        result = enter_limited(call, PATIENCE_NS);
    return result == WOKEN ? peek(call) : result;
}

int kitsune__wait_has_ended(void) {
    static _Thread_local uint64_t ended_for;
    uint64_t serial = kitsune__control_serial();
    int has_ended = ended_for == serial;

    ended_for = serial;
    return has_ended;
}

static long wait_for(const struct call *call) {
    int is_ours = 1;

    for (;;) {
        /* The service may have moved the gate. */
        long result = enter(is_ours ? &kitsune__control_gate->pending : &no_gate, call);
        uint32_t pending;

        if (__builtin_expect(result != WOKEN, 1))
            return result;
        pending = kitsune__request_pending();
        if ((pending & KITSUNE__PENDING_SERVICE) && kitsune__is_main()) {
            kitsune__request_service();
            /* Still set in a child of a bare clone: the service is the owner's, this call only ours. */
            is_ours = !(kitsune__request_pending() & KITSUNE__PENDING_SERVICE);
        }
        if (pending & waking() & (KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_GATHER))
            return end_early(call);
        /* A kick for a request that is gone. Limits in milliseconds start again here. */
    }
}

/* ---- idle work ----------------------------------------------------------------------------- */

#define LARGEST_SET 1024 /* bytes; beyond, no idle work is done */
#define BUSY_SLICE_NS 50000u
#define LONGEST_PATIENCE_NS 50000000u

static void save_sets(const struct call *call, unsigned char *saved) {
    for (unsigned i = 0; i < 3; i++)
        if (call->sets[i])
            memcpy(saved + i * LARGEST_SET, call->sets[i], call->set_size);
}

static void restore_sets(const struct call *call, const unsigned char *saved) {
    for (unsigned i = 0; i < 3; i++)
        if (call->sets[i])
            memcpy(call->sets[i], saved + i * LARGEST_SET, call->set_size);
}

static void set_limit(struct call *call, uint64_t ns) {
    if (call->limit_is_ms)
        call->arguments[call->limit_at] = (long)((ns + 999999u) / 1000000u);
    else
        *(struct timespec *)call->arguments[call->limit_at] = timespec_of(ns);
}

/* How long to look before the next slice: not at all as long as slices do something. A slice that
 * returns at once waits for another process; it is asked again and again, ever less often. */
static uint64_t next_patience(uint64_t patience_ns, uint64_t slice_ns) {
    if (slice_ns >= BUSY_SLICE_NS)
        return 0;
    if (patience_ns == 0)
        return 1000000u;
    return patience_ns >= LONGEST_PATIENCE_NS ? LONGEST_PATIENCE_NS : patience_ns * 2;
}

/* Works while nothing is ready. Returns 1 if the call is over, with its result. */
static int work_while_idle(struct call *call, long *result) {
    unsigned char saved[3 * LARGEST_SET];
    uint64_t limit = limit_of(call), started, now, patience = 0;
    int more = 1;

    if (!idle_work || call->set_size > LARGEST_SET || kitsune__request_is_filtered())
        return 0;
    started = now = kitsune__now_ns();
    /* It lies where an update's frames were, whose pointers would seem to be in use to the scan. */
    memset(saved, 0, sizeof saved);
    save_sets(call, saved);
    while (more && now - started < limit && !(kitsune__request_pending() & waking())) {
        uint64_t begun;

        *result = patience ? enter_limited(call, patience) : peek(call);
        if (*result != 0 && *result != WOKEN)
            return 1;
        restore_sets(call, saved);
        begun = kitsune__now_ns();
        more = idle_work();
        now = kitsune__now_ns();
        patience = next_patience(patience, now - begun);
    }
    if (limit != UINT64_MAX)
        set_limit(call, now - started < limit ? limit - (now - started) : 0);
    return 0;
}

long kitsune__wait_failed(long result) {
    errno = (int)-result;
    return -1;
}

static int finish(struct call *call) {
    long result;

    if (unlikely(kitsune__request_pending() & KITSUNE__PENDING_RETIRE)) {
        if (!work_while_idle(call, &result))
            result = wait_for(call);
    } else {
        result = wait_for(call);
    }
    return result >= 0 ? (int)result : kitsune__wait_failed(result);
}

/* ---- the calls ----------------------------------------------------------------------------- */

/* A mask for the time of a call, without SIGURG; NULL stays NULL. In a transaction signals wait: the
 * handlers are still the old version's. */
static const sigset_t *filtered(const sigset_t *mask, sigset_t *copy) {
    if (!mask || (kitsune__request_pending() & KITSUNE__PENDING_TRANSACTION))
        return NULL;
    *copy = *mask;
    kitsune__kick_filter(copy);
    return copy;
}

static int select_for(int count, fd_set *sets[3], struct timespec *limit, const sigset_t *mask) {
    sigset_t copy;
    const sigset_t *used = filtered(mask, &copy);
    struct {
        const sigset_t *mask;
        size_t size;
    } with_size = {used, KERNEL_SIGSET_SIZE};
    struct call call = {
        .name = "select",
        .number = SYS_pselect6,
        .arguments = {count, (long)sets[0], (long)sets[1], (long)sets[2], (long)limit,
                      (long)(used ? &with_size : NULL)},
        .limit_at = 4,
        .sets = {sets[0], sets[1], sets[2]},
        .set_size = count > 0 ? ((size_t)count + 63) / 64 * 8 : 0,
    };

    return finish(&call);
}

int kitsune__call_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
                         struct timeval *timeout) {
    struct timespec limit;
    int result;

    if (!timeout)
        return select_for(count, (fd_set *[3]){readable, writable, exceptional}, NULL, NULL);
    if (timeout->tv_sec < 0 || timeout->tv_usec < 0) {
        errno = EINVAL;
        return -1;
    }
    limit.tv_sec = timeout->tv_usec / 1000000 > INT64_MAX - timeout->tv_sec
                       ? INT64_MAX
                       : timeout->tv_sec + timeout->tv_usec / 1000000;
    limit.tv_nsec = timeout->tv_usec % 1000000 * 1000;
    result = select_for(count, (fd_set *[3]){readable, writable, exceptional}, &limit, NULL);
    timeout->tv_sec = limit.tv_sec;
    timeout->tv_usec = limit.tv_nsec / 1000;
    return result;
}

int kitsune__call_pselect(int count, fd_set *readable, fd_set *writable, fd_set *exceptional,
                          const struct timespec *timeout, const sigset_t *mask) {
    struct timespec limit;

    if (timeout)
        limit = *timeout;
    return select_for(count, (fd_set *[3]){readable, writable, exceptional},
                      timeout ? &limit : NULL, mask);
}

#ifdef SYS_poll
int kitsune__poll_slowly(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct call call = {
        .name = "poll",
        .number = SYS_poll,
        .arguments = {(long)fds, (long)count, timeout_ms},
        .limit_at = 2,
        .limit_is_ms = 1,
    };

    return finish(&call);
}
#else
int kitsune__poll_slowly(struct pollfd *fds, nfds_t count, int timeout_ms) {
    struct timespec limit = {timeout_ms / 1000, timeout_ms % 1000 * 1000000l};

    return kitsune__call_ppoll(fds, count, timeout_ms < 0 ? NULL : &limit, NULL);
}
#endif

int kitsune__call_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                        const sigset_t *mask) {
    struct timespec limit;
    sigset_t copy;
    struct call call = {
        .name = "poll",
        .number = SYS_ppoll,
        .arguments = {(long)fds, (long)count, (long)(timeout ? &limit : NULL),
                      (long)filtered(mask, &copy), KERNEL_SIGSET_SIZE},
        .limit_at = 2,
    };

    if (timeout)
        limit = *timeout;
    return finish(&call);
}

int kitsune__epoll_wait_slowly(int epoll, struct epoll_event *events, int capacity,
                               int timeout_ms) {
    struct call call = {
        .name = "epoll_wait",
        .number = EPOLL_WAIT,
        .arguments = {epoll, (long)events, capacity, timeout_ms},
        .limit_at = 3,
        .limit_is_ms = 1,
    };

    return finish(&call);
}

int kitsune__call_epoll_pwait(int epoll, struct epoll_event *events, int capacity, int timeout_ms,
                              const sigset_t *mask) {
    sigset_t copy;
    struct call call = {
        .name = "epoll_wait",
        .number = SYS_epoll_pwait,
        .arguments = {epoll, (long)events, capacity, timeout_ms, (long)filtered(mask, &copy),
                      KERNEL_SIGSET_SIZE},
        .limit_at = 3,
        .limit_is_ms = 1,
    };

    return finish(&call);
}

/* ---- the checked variants of _FORTIFY_SOURCE ----------------------------------------------- */

extern int __poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size);
extern int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                       const sigset_t *mask, size_t size);

/* An array that is too small is libc's to report, in its own way. */

int kitsune__call___poll_chk(struct pollfd *fds, nfds_t count, int timeout_ms, size_t size) {
    if (size / sizeof *fds < count)
        return __poll_chk(fds, count, timeout_ms, size);
    return kitsune__call_poll(fds, count, timeout_ms);
}

int kitsune__call___ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                              const sigset_t *mask, size_t size) {
    if (size / sizeof *fds < count)
        return __ppoll_chk(fds, count, timeout, mask, size);
    return kitsune__call_ppoll(fds, count, timeout, mask);
}
