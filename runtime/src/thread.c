#define _GNU_SOURCE
#include "thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#include "calls.h"
#include "gather.h"
#include "journal.h"
#include "log.h"
#include "platform.h"
#include "request.h"
#include "sanitizer.h"
#include "wait.h"

/* Room for the frame of run_thread. */
#define BASE_ROOM 2048

_Thread_local struct kitsune__thread *kitsune__self;

static struct kitsune__thread first_thread;
struct kitsune__thread *kitsune__main_thread = &first_thread;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kitsune__thread *threads;
static pthread_key_t key;
static int has_key;

void kitsune__threads_lock(void) {
    pthread_mutex_lock(&lock);
}

void kitsune__threads_unlock(void) {
    pthread_mutex_unlock(&lock);
}

struct kitsune__thread *kitsune__threads(void) {
    return threads;
}

struct kitsune__thread *kitsune__thread_of(pid_t tid) {
    struct kitsune__thread *thread = threads;
    while (thread != NULL && thread->tid != tid)
        thread = thread->next;
    return thread;
}

static void link_thread(struct kitsune__thread *thread) {
    kitsune__threads_lock();
    thread->next = threads;
    threads = thread;
    kitsune__threads_unlock();
}

static void forget(struct kitsune__thread *thread) {
    kitsune__threads_lock();
    for (struct kitsune__thread **link = &threads; *link != NULL; link = &(*link)->next)
        if (*link == thread) {
            *link = thread->next;
            break;
        }
    kitsune__threads_unlock();
    free(thread);
}

/* ---- libc's cleanup handlers ---------------------------------------------------------------- */

/* What pthread_cleanup_push of C calls: the first puts the handler outside the buffer into it, the second
 * makes that the innermost one. */

void *kitsune__cleanup_get(void) {
    __pthread_unwind_buf_t buffer = {0};
    __pthread_register_cancel(&buffer);
    __pthread_unregister_cancel(&buffer);
    return buffer.__pad[0];
}

void kitsune__cleanup_set(void *innermost) {
    __pthread_unwind_buf_t buffer = {0};
    __pthread_register_cancel(&buffer);
    buffer.__pad[0] = innermost;
    __pthread_unregister_cancel(&buffer);
}

/* ---- a thread's life ------------------------------------------------------------------------ */

/* Whichever way it ends: returned, pthread_exit, cancelled. On its own stack. */
static void on_end(void *argument) {
    struct kitsune__thread *thread = argument;
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__EXITED, "a thread of the new version ended");
    if (thread == &first_thread) /* the process has others, or ends */
        return;
    kitsune__self = NULL;
    kitsune__stack_unmap(&thread->stack);
    forget(thread);
}

void kitsune__thread_run(struct kitsune__thread *thread, const void *start, void *argument) {
    union {
        const void *address;
        void *(*posix)(void *);
        int (*c11)(void *);
    } function = {start};
    if (thread->is_c11)
        thread->result = (void *)(intptr_t)function.c11(argument);
    else
        thread->result = function.posix(argument);
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__RETURNED, "the thread's start function returned before the "
                                                  "thread reached its update point");
    kitsune__resume(&thread->base, 1);
}

static void first_run(void *argument) {
    struct kitsune__thread *thread = argument;
    kitsune__thread_run(thread, thread->start, thread->argument);
}

void kitsune__thread_leave_place(struct kitsune__thread *thread) {
    uint64_t mask = thread->left->mask;
    kitsune__cleanup_set(thread->cleanup);
    kitsune__berth_unmap(thread->left);
    thread->left = NULL;
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof mask);
}

__attribute__((noinline)) static void *run_above(struct kitsune__thread *thread,
                                                 void (*entry)(void *)) {
    thread->top = (uint8_t *)__builtin_frame_address(0) - BASE_ROOM;
    kitsune__suspend(&thread->base, thread->top, entry, thread);
    if (thread->is_removed) /* by a new version: it ends here */
        kitsune__thread_leave_place(thread);
    return thread->result;
}

static void begin_thread(struct kitsune__thread *thread) {
    kitsune__self = thread;
    thread->id = pthread_self();
    thread->in_call = &kitsune__in_call;
    thread->cleanup = kitsune__cleanup_get();
    __atomic_store_n(&thread->tid, (pid_t)KITSUNE__SYSCALL(SYS_gettid), __ATOMIC_RELEASE);
    if (has_key)
        pthread_setspecific(key, thread);
}

static void *run_thread(void *argument) {
    begin_thread(argument);
    return run_above(argument, first_run);
}

static struct kitsune__thread *new_thread(const pthread_attr_t *attributes, const void *start,
                                          void *argument) {
    struct kitsune__thread *thread = calloc(1, sizeof *thread);
    if (thread == NULL)
        return NULL;
    thread->start = start;
    thread->argument = argument;
    thread->has_attributes = attributes != NULL;
    if (attributes != NULL)
        thread->attributes = *attributes;
    link_thread(thread);
    return thread;
}

static int create(pthread_t *id, const pthread_attr_t *attributes, const void *start,
                  void *argument, int is_c11) {
    struct kitsune__thread *thread = new_thread(attributes, start, argument);
    if (thread == NULL)
        return EAGAIN;
    thread->is_c11 = is_c11;
    int error = pthread_create(id, attributes, run_thread, thread);
    if (error != 0)
        forget(thread);
    return error;
}

/* ---- the calls ------------------------------------------------------------------------------ */

/* A rollback would pull memory and code away from under it; and the runtime itself goes on with the
 * threads that there are. */
static void refuse(const char *name) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__REFUSED_CALL,
                               "the new version called %s(), which needs a guard "
                               "if (!kitsune_is_updating()),",
                               name);
}

int kitsune__call_pthread_create(pthread_t *id, const pthread_attr_t *attributes,
                                 void *(*start)(void *), void *argument) {
    refuse("pthread_create");
    return create(id, attributes, (const void *)start, argument, 0);
}

int kitsune__call_thrd_create(thrd_t *id, int (*start)(void *), void *argument) {
    refuse("thrd_create");
    int error = create(id, NULL, (const void *)start, argument, 1);
    return error == 0 ? thrd_success : error == ENOMEM ? thrd_nomem : thrd_error;
}

static void refuse_end(const char *name) {
    if (kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__EXITED, "the new version called %s()", name);
}

void kitsune__call_pthread_exit(void *result) {
    refuse_end("pthread_exit");
    pthread_exit(result);
}

void kitsune__call_thrd_exit(int result) {
    refuse_end("thrd_exit");
    thrd_exit(result);
}

void kitsune__thread_callback(void (*callback)(void *), void *argument) {
    struct kitsune__thread *thread = kitsune__self;
    if (thread == NULL)
        return;
    thread->callback_argument = argument;
    thread->callback = callback;
}

/* ---- cancellation --------------------------------------------------------------------------- */

static int (*libc_cancel)(pthread_t);

static void find_cancel(void) {
    void *found = dlsym(RTLD_NEXT, "pthread_cancel");
    memcpy(&libc_cancel, &found, sizeof libc_cancel);
}

/* Exported: the dynamic linker gives it to the program and to all libraries, in libc's place. */
__attribute__((visibility("default"))) int pthread_cancel(pthread_t thread) {
    if (libc_cancel == NULL)
        return ENOSYS;
    kitsune__wait_expect_cancels();
    int error = libc_cancel(thread);
    if (error == 0 && !kitsune__request_is_filtered())
        kitsune__gather_kick_cancelled(thread);
    return error;
}

/* ---- threads that a transaction makes ------------------------------------------------------- */

static uint32_t *arrivals_of_made;

static void parked_run(void *argument) {
    struct kitsune__thread *thread = argument;
    kitsune__berth_take(thread->place);
    kitsune__park(thread->place, arrivals_of_made);
    __builtin_unreachable(); /* there is no way back for it */
}

static void *run_parked(void *argument) {
    begin_thread(argument);
    return run_above(argument, parked_run);
}

struct kitsune__thread *kitsune__thread_make(const struct ktthread_info *info, uint32_t *arrivals) {
    pthread_t id;
    struct kitsune__thread *thread =
        new_thread(info->attr, (const void *)info->start_fun, info->arg);
    if (thread == NULL)
        return NULL;
    thread->is_made = 1;
    thread->info = *info;
    thread->place = kitsune__berth_map();
    arrivals_of_made = arrivals;
    if (thread->place == NULL || pthread_create(&id, info->attr, run_parked, thread) != 0)
        return NULL; /* the update is given up: a rollback takes the rest back */
    return thread;
}

/* ---- start and fork ------------------------------------------------------------------------- */

/*
 * One heap for all threads, unless the environment says otherwise: what another thread allocated can
 * then be proven to be a whole block, and is freed after an update. Programs with one thread have one
 * in any case.
 */
static void use_one_heap(void) {
    if (getenv("MALLOC_ARENA_MAX") == NULL && getenv("GLIBC_TUNABLES") == NULL)
        mallopt(M_ARENA_MAX, 1);
}

static pid_t sanitizers_thread; /* 0: none */

int kitsune__thread_is_sanitizers(pid_t tid) {
    return tid == sanitizers_thread;
}

static int is_another(void *context, int tid) {
    (void)context;
    return tid != first_thread.tid ? tid : 0;
}

static void *do_nothing(void *argument) {
    return argument;
}

/* ThreadSanitizer starts one with the program's first. */
static void note_sanitizers_thread(void) {
    pthread_t thread;
    if (!kitsune__under_tsan() || pthread_create(&thread, NULL, do_nothing, NULL) != 0)
        return;
    pthread_join(thread, NULL);
    int found = kitsune__each_thread(is_another, NULL);
    sanitizers_thread = found > 0 ? found : 0;
}

void kitsune__threads_start(void) {
    kitsune__self = kitsune__main_thread;
    first_thread.tid = (pid_t)KITSUNE__SYSCALL(SYS_gettid);
    first_thread.id = pthread_self();
    first_thread.in_call = &kitsune__in_call;
    find_cancel();
    use_one_heap();
    note_sanitizers_thread();
    has_key = pthread_key_create(&key, on_end) == 0 && pthread_setspecific(key, &first_thread) == 0;
    if (!has_key)
        kitsune__log("threads cannot be followed to their end");
}

struct kitsune__stack kitsune__threads_drop_in_child(void) {
    struct kitsune__stack none = {0}, own = none;
    pthread_mutex_t fresh = PTHREAD_MUTEX_INITIALIZER;
    lock = fresh;
    threads = NULL;
    if (kitsune__self == NULL)
        return none;
    kitsune__self->tid = getpid(); /* a filter of system calls lets that pass */
    if (kitsune__is_main())
        return none;
    own = kitsune__self->stack;
    kitsune__self->stack = none;
    kitsune__main_thread = kitsune__self;
    return own;
}
