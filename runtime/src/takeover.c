#define _GNU_SOURCE
#include "takeover.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "frames.h"
#include "gather.h"
#include "journal.h"
#include "load.h"
#include "log.h"
#include "platform.h"
#include "registry.h"
#include "sanitizer.h"
#include "thread.h"
#include "wrap_signal.h"

static const struct kitsune__takeover *takeover;

/* For hooks: the thread that was last given, and whether one was. */
static struct kitsune__thread *given;
static int has_begun;

/* ---- how each goes on ----------------------------------------------------------------------- */

static void prepare_thread(struct kitsune__thread *thread) {
    const void *start = takeover->successor(thread->start);
    thread->is_removed = 0;
    thread->info.arg = kitsune__xf_thread_argument(takeover->xf, thread->argument);
    /* Without a successor the old one, by which a hook knows the thread. */
    start = start != NULL ? start : thread->start;
    memcpy(&thread->info.start_fun, &start, sizeof start);
    thread->info.update_pt = takeover->point(takeover->new->plan, thread->point);
    thread->info.attr = thread->has_attributes ? &thread->attributes : NULL;
}

void kitsune__takeover_prepare(const struct kitsune__takeover *what) {
    takeover = what;
    has_begun = 0;
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        prepare_thread(thread);
}

/* Oldest first: the list is newest first. */
static struct kitsune__thread *before(const struct kitsune__thread *thread) {
    struct kitsune__thread *found = NULL;
    for (struct kitsune__thread *at = kitsune__threads(); at != thread; at = at->next)
        found = at;
    return found;
}

void kitsune__threads_reset(void) {
    has_begun = 0;
}

/* Made ones were added by the hook itself: they are not shown. */
struct ktthread_info *kitsune__threads_next(void) {
    if (!kitsune__journal_active() || (has_begun && given == NULL))
        return NULL;
    given = before(has_begun ? given : NULL);
    while (given != NULL && given->is_made)
        given = before(given);
    has_begun = 1;
    return given != NULL ? &given->info : NULL;
}

void kitsune__thread_remove(void) {
    if (kitsune__journal_active() && has_begun && given != NULL)
        given->is_removed = 1;
}

static void await_made(struct kitsune__thread *thread) {
    uint32_t *arrivals = kitsune__gather_arrivals();
    for (;;) {
        uint32_t seen = __atomic_load_n(arrivals, __ATOMIC_SEQ_CST);
        if (kitsune__park_is_parked(thread->place))
            return;
        KITSUNE__SYSCALL(SYS_futex, arrivals, FUTEX_WAIT, seen, 0);
    }
}

int kitsune__thread_add(const struct ktthread_info *info) {
    if (!kitsune__journal_active() || kitsune__gather_arrivals() == NULL)
        return -1;
    struct kitsune__thread *thread = kitsune__thread_make(info, kitsune__gather_arrivals());
    if (thread == NULL)
        kitsune__journal_abort(KITSUNE__NO_MEMORY,
                               "a thread that a hook adds could not be created");
    await_made(thread);
    kitsune__signals_wished(&thread->place->mask); /* it was made with all signals blocked */
    if (kitsune__journal_made(thread->place) != 0)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "a hook adds too many threads");
    return 0;
}

/* ---- in the thread -------------------------------------------------------------------------- */

static const char *name_of(const struct kitsune__thread *thread) {
    const void *start;
    memcpy(&start, &thread->info.start_fun, sizeof start);
    const struct kitsune_symbol *symbol = kitsune__registry_function_at(takeover->to, start);
    return symbol != NULL ? symbol->key : "?";
}

/* Thread-locals, and locals of noted functions. */
static int has_own_variables(const struct kitsune_release *release) {
    const uint32_t flags = KITSUNE_SYMBOL_THREAD_LOCAL | KITSUNE_SYMBOL_LOCAL;
    for (const struct kitsune_symbol *at = release->symbols; at != release->symbols_end; at++)
        if (at->key != NULL && (at->flags & flags))
            return 1;
    return 0;
}

/* The registries know such variables by the addresses that they have for the thread that opens them. */
static void migrate_own_variables(void) {
    struct kitsune__registry *from, *to;
    if (!has_own_variables(takeover->new) && !has_own_variables(takeover->old))
        return;
    if (kitsune__registry_open_again(&from, takeover->from) != 0 ||
        kitsune__registry_open_again(&to, takeover->to) != 0)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "no memory for a thread's variables");
    kitsune__xf_enter_thread(takeover->xf, from, to);
    kitsune__xf_thread_locals(takeover->xf);
}

/* The thread's copy of the old image's thread-locals, to be cleared when that is not used any more. */
static void note_thread_locals(struct kitsune__thread *thread) {
    const struct kitsune__image *image = kitsune__image_current();
    const uint8_t *start = takeover->old->image_start;
    const ElfW(Ehdr) *file = (const void *)start;
    const ElfW(Phdr) *headers = (const void *)(start + file->e_phoff);
    void *block = NULL;
    thread->thread_locals = NULL;
    if (memcmp(start, ELFMAG, SELFMAG) != 0 || image->handle == NULL ||
        dlinfo(image->handle, RTLD_DI_TLS_DATA, &block) != 0 || block == NULL)
        return;
    for (size_t i = 0; i < file->e_phnum; i++)
        if (headers[i].p_type == PT_TLS) {
            thread->thread_locals = block;
            thread->thread_locals_size = headers[i].p_memsz;
        }
}

static void note_bounds(struct kitsune__thread *thread) {
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (thread->low != NULL || pthread_getattr_np(pthread_self(), &attributes) != 0)
        return;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0)
        thread->low = low;
    pthread_attr_destroy(&attributes);
}

/* On the new stack, which is as new. */
static void start_thread(void *argument) {
    struct kitsune__thread *thread = argument;
    const void *start;
    memcpy(&start, &thread->info.start_fun, sizeof start);
    kitsune__asan_stack(&thread->place->stack);
    kitsune__journal_phase(KITSUNE__PHASE_THREAD, name_of(thread));
    kitsune__thread_run(thread, start, thread->info.arg);
}

/* On the stack of the place: what the migration left on the new one would keep the old image alive, in the
 * holes of the frames that come. */
static void start_afresh(void *argument) {
    const struct kitsune__thread *thread = argument;
    const struct kitsune__stack *stack = &thread->place->stack;
    kitsune__stack_renew(stack);
    kitsune__leave_for(stack->end, start_thread, argument);
}

static const void *old_stack_end(const struct kitsune__thread *thread) {
    return thread->stack.guard != NULL ? thread->stack.end : thread->top;
}

/* On the new stack, inside the transaction. */
static void prepare_and_start(void *argument) {
    struct kitsune__thread *thread = argument;
    kitsune__journal_enter();
    kitsune__signals_begin();
    kitsune__frames_suspend(thread->place->old.stack_pointer, old_stack_end(thread));
    kitsune__cleanup_set(thread->cleanup);
    note_bounds(thread);
    note_thread_locals(thread);
    kitsune__journal_phase(KITSUNE__PHASE_TRANSFORM, "a thread's variables");
    if (!thread->is_made)
        migrate_own_variables();
    kitsune__leave_for(kitsune__berth_stack(thread->place), start_afresh, thread);
}

const char *kitsune__takeover_point(int in_old_version) {
    const struct kitsune__thread *thread = kitsune__self;
    return in_old_version ? thread->point : thread->info.update_pt;
}

void kitsune__takeover_at_point(const char *name) {
    struct kitsune__thread *thread = kitsune__self;
    if (thread->info.update_pt == NULL || strcmp(name, thread->info.update_pt) != 0)
        return;
    strncpy(thread->point, name, sizeof thread->point - 1);
    struct kitsune__berth *place = thread->place;
    kitsune__journal_hand_back();
    kitsune__berth_unmap(place);
    kitsune__frames_commit();
    kitsune__signals_apply_thread();
    kitsune__signals_unblock();
}

/* ---- in the main thread --------------------------------------------------------------------- */

static void lend(struct kitsune__thread *thread) {
    size_t size = 0;
    if (thread->has_attributes)
        pthread_attr_getstacksize(&thread->attributes, &size);
    if (kitsune__stack_map(&thread->place->stack, size) != 0)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "no memory for a stack of the new version");
    kitsune__journal_lend(thread->place, prepare_and_start, thread);
}

static void check_start(const struct kitsune__thread *thread) {
    const void *start;
    memcpy(&start, &thread->info.start_fun, sizeof start);
    const struct kitsune__image *image = kitsune__image_at(start);
    if (image != NULL && image == kitsune__image_current())
        kitsune__journal_abort(
            KITSUNE__TRANSFORM_FAILED,
            "the start function of thread %d is not in the new version: remove the "
            "thread in a hook, or name its successor in a rule",
            thread->tid);
}

void kitsune__takeover_run(void) {
    for (struct kitsune__thread *thread = before(NULL); thread != NULL; thread = before(thread)) {
        if (thread->is_removed)
            continue;
        check_start(thread);
        /* One that was added and has no point begins after the commit. */
        if (thread->info.update_pt != NULL)
            lend(thread);
    }
    if (kitsune__threads() != NULL)
        kitsune__xf_enter_thread(takeover->xf, NULL, NULL);
}

/* ---- after the commit ----------------------------------------------------------------------- */

KITSUNE__UNCHECKED static void clear(uint8_t *start, const uint8_t *end) {
    for (volatile uint8_t *at = start; at < end; at++)
        *at = 0;
}

static void give_back(uint8_t *low, uint8_t *top) {
    uintptr_t page = kitsune__page_size();
    uint8_t *last = (uint8_t *)((uintptr_t)top / page * page);
    if (low == NULL || low > last)
        return;
    clear(last, top);
    madvise(low, (size_t)(last - low), MADV_DONTNEED);
}

static void drop_old_stack(struct kitsune__thread *thread) {
    if (thread->stack.guard != NULL)
        kitsune__stack_unmap(&thread->stack);
    else if (!thread->is_made)
        give_back(thread->low, thread->top);
    thread->stack = thread->place->stack;
}

static void clear_thread(struct kitsune__thread *thread) {
    struct kitsune__berth *place = thread->place;
    if (thread->is_removed)
        return;
    if (thread->info.update_pt != NULL) {
        drop_old_stack(thread);
        /* What lies below the suspended frames is of the migration. */
        give_back(thread->stack.start, place->new.stack_pointer);
    }
    memcpy(&thread->start, &thread->info.start_fun, sizeof thread->start);
    thread->argument = thread->info.arg;
    if (thread->thread_locals != NULL && !thread->is_made)
        memset(thread->thread_locals, 0, thread->thread_locals_size);
    thread->thread_locals = NULL;
}

void kitsune__takeover_clear(void) {
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        clear_thread(thread);
    takeover = NULL;
}

/* A thread that a hook added with no update point: it begins now, on its own stack. */
static void run_added(void *argument) {
    struct kitsune__thread *thread = argument;
    kitsune__thread_leave_place(thread);
    kitsune__thread_run(thread, thread->start, thread->argument);
}

static void release(struct kitsune__thread *thread) {
    struct kitsune__berth *place = thread->place;
    int begins = thread->info.update_pt == NULL;
    thread->is_made = 0;
    thread->left = place;
    __atomic_store_n(&thread->place, NULL, __ATOMIC_RELEASE);
    if (thread->is_removed) {
        thread->result = NULL;
        place->new = thread->base;
    } else if (begins) {
        place->stack = (struct kitsune__stack){NULL, thread->top, NULL};
        place->entry = run_added;
        place->argument = thread;
    }
    kitsune__park_command(place, begins && !thread->is_removed ? KITSUNE__START : KITSUNE__GO_ON);
}

void kitsune__takeover_release(void) {
    kitsune__threads_lock();
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL; thread = thread->next)
        release(thread);
    kitsune__threads_unlock();
}

/* What of the old version's stack is in use; empty for a thread that it has not. */
static struct kitsune__range old_stack(const struct kitsune__thread *thread) {
    struct kitsune__range range = {0, 0};
    if (thread->place == NULL || thread->is_made)
        return range;
    range.start = (uintptr_t)thread->place->old.stack_pointer;
    range.end = (uintptr_t)old_stack_end(thread);
    return range;
}

int kitsune__takeover_is_dying(const void *address) {
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL;
         thread = thread->next) {
        struct kitsune__range range = old_stack(thread);
        if ((uintptr_t)address >= range.start && (uintptr_t)address < range.end)
            return 1;
    }
    return 0;
}

struct kitsune__range kitsune__takeover_dying(void) {
    struct kitsune__range all = {0, 0};
    for (struct kitsune__thread *thread = kitsune__threads(); thread != NULL;
         thread = thread->next) {
        struct kitsune__range range = old_stack(thread);
        if (all.end == 0 || (range.end != 0 && range.start < all.start))
            all.start = range.start;
        if (range.end > all.end)
            all.end = range.end;
    }
    return all;
}
