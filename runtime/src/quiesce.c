#define _GNU_SOURCE
#include "quiesce.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frames.h"
#include "gather.h"
#include "journal.h"
#include "load.h"
#include "log.h"
#include "main_state.h"
#include "oldcode.h"
#include "own_limits.h"
#include "platform.h"
#include "plugins.h"
#include "registry.h"
#include "rehearsal.h"
#include "request.h"
#include "retire.h"
#include "takeover.h"
#include "thread.h"
#include "transform.h"
#include "trial.h"
#include "wait.h"
#include "wrap_exit.h"
#include "wrap_fork.h"
#include "wrap_key.h"
#include "wrap_signal.h"
#include "wrap_timer.h"

#define NS_PER_MS 1000000ull
#define DEFAULT_LIMIT_MS 60000u
/* Of background work at an update point or before a blocking call. */
#define SLICE_NS (200 * 1000ull)
/* How long a new update waits for what former ones left behind; what is not done by then is done after
 * it. Longer if that is of so many updates: they may follow each other faster than the slices can. */
#define FINISH_LIMIT_NS (5 * NS_PER_MS)
#define BACKLOG_MAX 4
#define BACKLOG_LIMIT_NS (100 * NS_PER_MS)

extern char **environ;

/* The running update; ordinary memory, so that a rollback makes it what it was before. */
static struct {
    struct kitsune__request request;
    char old_point[KITSUNE__POINT_SIZE]; /* where the old version stands */
    const char *new_point;               /* what that is called in the new version */
    struct kitsune__berth *places;       /* of all other threads, which are parked */
    struct kitsune__takeover takeover;
    struct kitsune__registry *from, *to;
    struct kitsune_xf *xf;
} update;

/* The image that the last update retired, until it is told what became of it. */
static struct {
    uint64_t serial; /* of the request; 0: nothing to tell */
    const struct kitsune__image *image;
} retired_image;

static int has_updated;
static char *next_version;              /* of kitsune_set_next_version; owned */
static struct kitsune__stack own_stack; /* of the running version; empty: the thread's own */
static uint8_t *base;                   /* see kitsune__quiesce_set_base */

struct kitsune_xf *kitsune__engine(void) {
    return update.xf;
}

void kitsune__quiesce_set_base(void *stack_address) {
    base = stack_address;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* By type, until `answer` tells it; filled before the engine ends. */
static struct {
    uint32_t count;
    struct kitsune__type_share shares[KITSUNE__SHARES];
} by_type;

static uint64_t objects_of(const struct kitsune__type_share *share) {
    return share->moved + share->in_place;
}

/* Adds to the share of the type's name: several pairs of types may have one, bound differently. */
static void add_share(const char *name, uint64_t moved, uint64_t in_place) {
    uint32_t at = 0;
    struct kitsune__type_share share = {"", moved, in_place};
    snprintf(share.name, sizeof share.name, "%s", name);
    while (at < by_type.count && strcmp(by_type.shares[at].name, share.name) != 0)
        at++;
    if (at == KITSUNE__SHARES) {
        at--;
        snprintf(by_type.shares[at].name, sizeof share.name, "other types");
    }
    if (at == by_type.count) {
        by_type.shares[by_type.count++] = share;
        return;
    }
    by_type.shares[at].moved += moved;
    by_type.shares[at].in_place += in_place;
}

/* By hand: libc's sorting may allocate, and the program waits. */
static void sort_shares(void) {
    for (uint32_t i = 1; i < by_type.count; i++)
        for (uint32_t j = i; j > 0; j--) {
            struct kitsune__type_share *left = &by_type.shares[j - 1], right = left[1];
            if (objects_of(left) >= objects_of(&right))
                break;
            left[1] = left[0];
            left[0] = right;
        }
}

static void note_types(const struct kitsune__xf_statistics *statistics) {
    by_type.count = 0;
    for (uint32_t i = 0; i < statistics->type_count; i++) {
        const struct kitsune__xf_type_count *type = &statistics->types[i];
        if (type->moved + type->in_place)
            add_share(type->name, type->moved, type->in_place);
    }
    sort_shares();
}

/* Without libc's formatting: a copy that rehearses comes here with a broken process behind it. */
static void fill_outcome(const struct kitsune__verdict *verdict, struct kitsune__outcome *outcome) {
    memset(outcome, 0, sizeof *outcome);
    outcome->is_rehearsal = update.request.is_rehearsal;
    outcome->committed = verdict->code == KITSUNE__COMMITTED;
    outcome->begun = outcome->committed || verdict->rollback_ns != 0;
    if (!outcome->committed) {
        kitsune__format(outcome->code, sizeof outcome->code, "K%u", verdict->code % 1000);
        kitsune__format(outcome->reason, sizeof outcome->reason, "%s", verdict->reason);
    }
    kitsune__format(outcome->not_undone, sizeof outcome->not_undone, "%s", verdict->notes);
    outcome->pause_ns = verdict->total_ns;
    outcome->load_ns = verdict->load_ns;
    outcome->snapshot_ns = verdict->snapshot_ns;
    outcome->migrate_ns = verdict->main_ns;
    outcome->objects = verdict->objects;
    outcome->bytes = verdict->bytes;
    if (outcome->committed) {
        outcome->share_count = by_type.count;
        memcpy(outcome->shares, by_type.shares, sizeof outcome->shares);
    }
}

static void answer(const struct kitsune__verdict *verdict) {
    struct kitsune__outcome outcome;
    struct kitsune__running running = kitsune__image_names(kitsune__image_current());
    fill_outcome(verdict, &outcome);
    kitsune__request_outcome(&outcome, outcome.committed ? &running : NULL);
    kitsune__trial_end(&outcome);
}

/* Where it crashed, and from where that was called. */
static void name_frames(const struct kitsune__verdict *verdict, const uint8_t *bytes, size_t size,
                        struct kitsune__trace *trace) {
    uint64_t address = kitsune__load_address_at(bytes, size, verdict->fault_offset);
    if (address == UINT64_MAX)
        return;
    for (uint32_t i = 0; i == 0 || i < verdict->frame_count; i++) {
        struct kitsune__frame *frame = &trace->frames[trace->count++];
        memcpy(frame->build_id, update.request.release.build_id, sizeof frame->build_id);
        frame->offset = address + (uint64_t)verdict->frames[i];
        frame->calls = verdict->calls[i] ? address + (uint64_t)verdict->calls[i] : 0;
        kitsune__load_name_frame(bytes, size, frame);
    }
    kitsune__trace_sift(trace);
}

/* The function that crashed, from the file that the code was mapped from; to the reason's end. Of the
 * release, but not of another file, the places are told, too. */
static void name_function(struct kitsune__verdict *verdict, const char *load_path) {
    struct kitsune__trace trace = {0};
    struct stat status;
    size_t length = strlen(verdict->reason);
    int is_release = strncmp(verdict->fault_path, "/memfd:", 7) == 0;
    const char *path = is_release ? load_path : verdict->fault_path;
    int file = strncmp(path, "/proc/", 6) == 0 ? kitsune__open_proc(path + 6, O_RDONLY)
                                               : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        size_t size = (size_t)status.st_size;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes != MAP_FAILED) {
            name_frames(verdict, bytes, size, &trace);
            munmap(bytes, size);
        }
    }
    close(file);
    if (trace.count > 0 && trace.frames[0].function[0] != '\0')
        snprintf(verdict->reason + length, sizeof verdict->reason - length, " (%s %s)",
                 verdict->fault_is_below ? "called from" : "at", trace.frames[0].function);
    if (is_release)
        kitsune__request_report()->crash = trace;
}

static void close_copy(void) {
    if (update.request.fd >= 0)
        close(update.request.fd);
    update.request.fd = -1;
}

static void log_failure(const struct kitsune__verdict *verdict) {
    const struct kitsune_identity *old = kitsune__image_current()->release->identity;
    char code[8];
    snprintf(code, sizeof code, "K%03u", verdict->code % 1000);
    const struct kitsune__fact facts[] = {{"from", old->version, 0},
                                          {"to", update.request.release.version, 0},
                                          {"code", code, 0},
                                          {"pause_ns", NULL, verdict->total_ns}};
    const struct kitsune__event event = {update.request.is_rehearsal ? "not-rehearsed"
                                         : verdict->rollback_ns      ? "rolled-back"
                                                                     : "refused",
                                         KITSUNE__WARNING, facts, sizeof facts / sizeof *facts};
    kitsune__log_event(&event, "%s %s goes on, %s was not %s: %s: %s%s%s", old->program,
                       old->version, update.request.release.version,
                       update.request.is_rehearsal ? "rehearsed" : "installed", code,
                       verdict->reason, verdict->notes[0] ? "; " : "", verdict->notes);
}

static void log_success(const struct kitsune_identity *old,
                        const struct kitsune__verdict *verdict) {
    const char *version = kitsune__image_current()->release->identity->version;
    const struct kitsune__fact facts[] = {{"from", old->version, 0},
                                          {"to", version, 0},
                                          {"pause_ns", NULL, verdict->total_ns},
                                          {"objects", NULL, verdict->objects},
                                          {"bytes", NULL, verdict->bytes}};
    const struct kitsune__event event = {"updated", KITSUNE__NOTICE, facts,
                                         sizeof facts / sizeof *facts};
    kitsune__log_event(&event, "%s %s became %s: %lu objects, %lu us%s%s", old->program,
                       old->version, version, (unsigned long)verdict->objects,
                       (unsigned long)(verdict->total_ns / 1000), verdict->notes[0] ? "; " : "",
                       verdict->notes);
}

static void finish_failed(struct kitsune__verdict *verdict) {
    if (verdict->fault_path[0] != '\0')
        name_function(verdict, update.request.load_path);
    close_copy();
    log_failure(verdict);
    answer(verdict);
}

/* ---- the new version's way to its update point ------------------------------------------------ */

static void fail_transformation(void *transaction, const char *message) __attribute__((noreturn));
static void fail_transformation(void *transaction, const char *message) {
    (void)transaction;
    kitsune__journal_abort(KITSUNE__TRANSFORM_FAILED, "%s", message);
}

static const char *renamed_point(const struct kitsune_plan *plan, const char *name) {
    for (uint32_t index = 0; index < plan->rename_count; index++)
        if (strcmp(plan->update_point_renames[index][0], name) == 0)
            return plan->update_point_renames[index][1];
    return name;
}

static struct kitsune__range dying_stack(void) {
    struct kitsune__range range = {(uintptr_t)kitsune__journal_old_stack_pointer(),
                                   (uintptr_t)(own_stack.end ? own_stack.end : base)};
    return range;
}

/* Registries of retired images that are still mapped, for pointers that they left behind. */
#define EARLIER_MAX 64
static const struct kitsune__registry *earlier[EARLIER_MAX];

static uint32_t open_earlier(void) {
    uint32_t count = 0;
    for (struct kitsune__image *image = kitsune__images(); image != NULL; image = image->next) {
        struct kitsune__registry *registry;
        if (image == kitsune__image_current() || image == kitsune__image_incoming() ||
            count == EARLIER_MAX)
            continue;
        if (kitsune__registry_open(&registry, image->release) == 0)
            earlier[count++] = registry;
    }
    return count;
}

static void close_earlier(void) {
    for (uint32_t index = 0; index < EARLIER_MAX; index++) {
        kitsune__registry_close((struct kitsune__registry *)earlier[index]);
        earlier[index] = NULL;
    }
}

static void start_engine(const struct kitsune_release *new) {
    struct kitsune__xf_options options = {.plan = new->plan,
                                          .earlier = earlier,
                                          .earlier_count = open_earlier(),
                                          .dying = dying_stack(),
                                          .all_dying = kitsune__takeover_dying(),
                                          .is_dying = kitsune__takeover_is_dying,
                                          .fail = fail_transformation};
    if (kitsune__registry_open(&update.from, kitsune__image_current()->release) != 0 ||
        kitsune__registry_open(&update.to, new) != 0)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "no memory for the engine");
    options.from = update.from;
    options.to = update.to;
    if (kitsune__xf_begin(&update.xf, &options) != 0)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "no memory for the engine");
}

static void take_plugins_along(int is_last);

/* Runs on the new stack, inside the transaction. */
static void run_new_version(void *argument) {
    char reason[KITSUNE__REASON_SIZE];
    int count;
    (void)argument;
    kitsune__signals_forget();
    kitsune__signals_begin();
    struct kitsune__range old_stack = dying_stack();
    kitsune__frames_suspend((void *)old_stack.start, (void *)old_stack.end);
    kitsune__journal_phase(KITSUNE__PHASE_LOAD, NULL);
    uint32_t code =
        kitsune__load_next(update.request.load_path, update.request.source, reason, sizeof reason);
    if (code != 0)
        kitsune__journal_abort(code, "%s", reason);
    close_copy(); /* from here on the new version may use the number; a rollback gives it back */
    const struct kitsune__image *image = kitsune__image_incoming();
    const struct kitsune_release *new = image->release;
    kitsune__journal_set_code(image->code_start, image->code_end);
    update.new_point = renamed_point(new->plan, update.old_point);
    start_engine(new);
    take_plugins_along(0);
    if (new->plan->prestart != NULL) {
        kitsune__journal_phase(KITSUNE__PHASE_PRESTART, NULL);
        new->plan->prestart();
    }
    kitsune__journal_phase(KITSUNE__PHASE_MAIN, NULL);
    char **arguments = kitsune__arguments_renew(&count);
    if (arguments == NULL)
        kitsune__journal_abort(KITSUNE__NO_MEMORY, "no memory for the arguments");
    kitsune__options_reset();
    int status = new->main(count, arguments, environ);
    if (!kitsune__journal_active())
        exit(status); /* it was installed long since: the program's ordinary end */
    kitsune__journal_abort(KITSUNE__RETURNED,
                           "the new version's main returned %d before it "
                           "reached the update point '%s'",
                           status, update.new_point);
}

/* ---- the commit ------------------------------------------------------------------------------ */

/* What an old function became: what the plan says, or its namesake; NULL if there is neither. */
static const void *successor(const void *function) {
    const struct kitsune_plan *plan = kitsune__image_incoming()->release->plan;
    const struct kitsune_symbol *old = kitsune__registry_function_at(update.from, function);
    const char *key = old != NULL ? old->key : NULL;
    for (uint32_t index = 0; old != NULL && index < plan->function_count; index++) {
        const struct kitsune_function_pair *pair = &plan->functions[index];
        if (strcmp(pair->old_key, old->key) != 0)
            continue;
        if (pair->new_function != NULL)
            return pair->new_function;
        key = pair->new_key;
    }
    if (key == NULL)
        return NULL;
    const struct kitsune_symbol *new = kitsune__registry_find(update.to, key, NULL);
    return new != NULL && (new->flags &KITSUNE_SYMBOL_FUNCTION) ? new->address : NULL;
}

/* The same for anything that a plugin may keep the address of. */
static const void *successor_of_any(const void *address) {
    uint64_t offset;
    const struct kitsune_symbol *old = kitsune__registry_variable_at(update.from, address, &offset);
    if (old == NULL || offset != 0)
        return successor(address);
    const struct kitsune_symbol *new = kitsune__registry_find(update.to, old->key, NULL);
    int fits = new != NULL && (new->flags &KITSUNE_SYMBOL_VARIABLE) && new->size == old->size;
    return fits ? new->address : NULL;
}

static void take_plugins_along(int is_last) {
    char reason[KITSUNE__REASON_SIZE];
    uint32_t code = kitsune__plugins_follow(kitsune__image_current(), kitsune__image_incoming(),
                                            successor_of_any, is_last, reason, sizeof reason);
    if (code != 0)
        kitsune__journal_abort(code, "%s", reason);
}

static void apply_commit(void) {
    kitsune__signals_apply();
    kitsune__timers_apply();
    kitsune__load_commit();
}

/* A loop of its own: a sanitizer sees frames there that will never end. */
KITSUNE__UNCHECKED static void clear_dead(uint8_t *start, const uint8_t *end) {
    for (volatile uint8_t *at = start; at < end; at++)
        *at = 0;
}

/* Gives the thread's own stack back, but for what lies above the frame of the launcher's main, which
 * nobody returns to any more. What of it shares a page with that is cleared: stale words there would
 * keep the first image mapped. */
static void give_back_base(void) {
    struct rlimit limit;
    uintptr_t page = kitsune__page_size();
    size_t size = 8u << 20;
    if (base == NULL)
        return;
    if (getrlimit(RLIMIT_STACK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        size = limit.rlim_cur;
    uint8_t *top = (uint8_t *)((uintptr_t)base / page * page);
    clear_dead(top, base);
    /* The kernel does not say where the mapping ends: page by page, until one is refused. */
    for (uint8_t *at = top; size > page; at -= page, size -= page)
        if (madvise(at - page, page, MADV_DONTNEED) != 0)
            break;
    base = NULL;
}

static void take_stack(const struct kitsune__stack *stack) {
    if (own_stack.guard != NULL)
        kitsune__stack_unmap(&own_stack);
    else
        give_back_base();
    own_stack = *stack;
}

static struct kitsune__limits limits(void);

/* Of an update of the whole tree: until all its processes have come this far. */
static void wait_for_tree(void) {
    char reason[KITSUNE__REASON_SIZE];
    uint32_t code = kitsune__request_hold(&update.request, limits().total_ms * NS_PER_MS, reason,
                                          sizeof reason);
    if (code != 0)
        kitsune__journal_abort(code, "%s", reason);
}

/* At the update point where the old version stands: from here on the new one is the program. */
static void commit(void) {
    struct kitsune__image *old = kitsune__image_current();
    const struct kitsune_plan *plan = kitsune__image_incoming()->release->plan;
    struct kitsune__xf_statistics statistics;
    struct kitsune__verdict verdict;
    struct kitsune__stack stack;
    update.takeover = (struct kitsune__takeover){.old = old->release,
                                                 .new = kitsune__image_incoming()->release,
                                                 .from = update.from,
                                                 .to = update.to,
                                                 .xf = update.xf,
                                                 .successor = successor,
                                                 .point = renamed_point};
    kitsune__takeover_prepare(&update.takeover);
    if (plan->mainupdate != NULL) {
        kitsune__journal_phase(KITSUNE__PHASE_MAINUPDATE, NULL);
        plan->mainupdate();
    }
    kitsune__takeover_run();
    kitsune__journal_phase(KITSUNE__PHASE_TRANSFORM, NULL);
    kitsune__xf_finish(update.xf, &statistics);
    kitsune__journal_phase(KITSUNE__PHASE_COMMIT, NULL);
    take_plugins_along(1);
    kitsune__signals_carry_over(old, successor);
    kitsune__exit_carry_over(old, successor);
    kitsune__keys_carry_over(old, successor);
    kitsune__atfork_carry_over(old, successor);
    if (kitsune__journal_rehearses()) {
        note_types(&statistics);
        kitsune__journal_end_rehearsal(statistics.moved + statistics.in_place, statistics.bytes);
    }
    wait_for_tree();
    kitsune__journal_commit(apply_commit, &verdict, &stack);
    uint64_t committed_ns = kitsune__now_ns(); /* but nobody goes on yet */
    has_updated = 1;
    kitsune__frames_commit();
    verdict.objects = statistics.moved + statistics.in_place;
    verdict.bytes = statistics.bytes;
    take_stack(&stack);
    note_types(&statistics);
    kitsune__takeover_clear();
    memset(&update.takeover, 0, sizeof update.takeover); /* it names the old image */
    struct kitsune__retired *retired = kitsune__xf_end(update.xf);
    update.xf = NULL;
    kitsune__registry_close(update.from);
    kitsune__registry_close(update.to);
    update.from = update.to = NULL;
    close_earlier();
    kitsune__request_lower(KITSUNE__PENDING_TRANSACTION);
    retired_image.serial = update.request.serial;
    retired_image.image = old;
    kitsune__retire_begin(retired, old);
    kitsune__retire_look(kitsune__threads() != NULL);
    verdict.total_ns += kitsune__now_ns() - committed_ns;
    log_success(old->release->identity, &verdict);
    answer(&verdict);
    kitsune__request_raise(KITSUNE__PENDING_RETIRE);
    kitsune__takeover_release();
    kitsune__signals_unblock();
}

/* ---- the old version's side ------------------------------------------------------------------ */

/* Of the transaction: what the request says, or $KITSUNE_LIMIT_MS, or the default. */
static struct kitsune__limits limits(void) {
    const char *text = getenv("KITSUNE_LIMIT_MS");
    const struct kitsune__limits standard = {.total_ms = DEFAULT_LIMIT_MS};
    struct kitsune__limits chosen = update.request.limits, own = {0};
    if (text != NULL && kitsune__limits_read(text, &own))
        kitsune__limits_complete(&chosen, &own);
    kitsune__limits_complete(&chosen, &standard);
    return chosen;
}

static int is_loaded(const struct kitsune__image *wanted) {
    for (const struct kitsune__image *image = kitsune__images(); image != NULL; image = image->next)
        if (image == wanted)
            return 1;
    return 0;
}

static void tell_retired(void) {
    char reason[128] = "unloaded";
    if (retired_image.serial == 0)
        return;
    if (is_loaded(retired_image.image)) {
        kitsune__retire_reason(retired_image.image, reason, sizeof reason);
        const struct kitsune__event event = {"old-code-stays", KITSUNE__NOTICE, NULL, 0};
        kitsune__log_event(&event, "the old version's code stays: %s", reason);
    }
    kitsune__request_retired(retired_image.serial, reason);
    retired_image.serial = 0;
}

/* One slice, by one thread at a time. */
static int do_idle(void) {
    int is_reaped = kitsune__journal_reap() & kitsune__rehearsal_reap();
    int has_more = kitsune__retire_slice(SLICE_NS);
    if (!has_more) {
        tell_retired();
        kitsune__own_limits_lower();
    }
    if (is_reaped && !has_more) {
        kitsune__request_lower(KITSUNE__PENDING_RETIRE);
        /* The helper may have ended a rehearsal, and raised the bit, since that was looked at. */
        is_reaped = kitsune__rehearsal_reap();
        if (!is_reaped)
            kitsune__request_raise(KITSUNE__PENDING_RETIRE);
    }
    return !is_reaped || has_more;
}

/* Non-zero while a thread does background work. */
static uint32_t is_retiring;

static void begin_retiring(void) {
    while (__atomic_exchange_n(&is_retiring, 1u, __ATOMIC_ACQUIRE))
        sched_yield(); /* another thread's slice ends soon */
}

static void end_retiring(void) {
    __atomic_store_n(&is_retiring, 0u, __ATOMIC_RELEASE);
}

/* What is left of former updates stays: to free it takes calls that a filter may not let pass. */
static int is_forbidden(void) {
    if (!kitsune__request_is_filtered())
        return 0;
    kitsune__request_lower(KITSUNE__PENDING_RETIRE);
    return 1;
}

int kitsune__quiesce_idle(void) {
    if (kitsune__journal_active() || kitsune__self == NULL || is_forbidden() ||
        __atomic_exchange_n(&is_retiring, 1u, __ATOMIC_ACQUIRE))
        return 0;
    int has_more = do_idle();
    end_retiring();
    return has_more;
}

void kitsune__quiesce_end_copies(void) {
    if (kitsune__journal_active() || !kitsune__request_is_owner() ||
        kitsune__request_is_filtered() || __atomic_exchange_n(&is_retiring, 1u, __ATOMIC_ACQUIRE))
        return;
    kitsune__retire_end();
    kitsune__journal_reap_last();
    end_retiring();
}

/* What former updates left behind is done as far as it can be, before other threads are stopped. */
static void finish_idle(void) {
    begin_retiring();
    kitsune__retire_finish(kitsune__retire_backlog() < BACKLOG_MAX ? FINISH_LIMIT_NS
                                                                   : BACKLOG_LIMIT_NS);
    end_retiring();
}

static uint64_t wait_ns(void) {
    uint64_t wait_ms = update.request.wait_ms;
    return wait_ms < UINT64_MAX / NS_PER_MS ? wait_ms * NS_PER_MS : UINT64_MAX / 2;
}

/* All threads stand at their update points. */
static void update_gathered(struct kitsune__verdict *verdict) {
    kitsune__oldcode_suspend();
    kitsune__request_raise(KITSUNE__PENDING_TRANSACTION);
    const struct kitsune__limits held = limits();
    kitsune__journal_run(run_new_version, NULL, update.places, &held, verdict);
    kitsune__request_lower(KITSUNE__PENDING_TRANSACTION);
    kitsune__oldcode_resume();
    if (kitsune__journal_snapshot_off())
        kitsune__signals_forget();
    if (update.places != NULL)
        kitsune__gather_undo();
}

/* ---- a rehearsal ------------------------------------------------------------------------------ */

/* In the copy: of the release, whose own descriptor is the new version's once it is loaded. */
static int kept_file = -1;

/* In the copy, where the transaction would end: on a stack of its own, with all signals blocked, maybe in
 * a process whose libc is broken. So the outcome is told before the function is looked up. */
static void end_rehearsal(struct kitsune__verdict *verdict) {
    struct kitsune__outcome outcome;
    fill_outcome(verdict, &outcome);
    kitsune__rehearsal_weigh(&outcome);
    kitsune__request_rehearsed(&outcome);
    if (verdict->fault_path[0] != '\0') {
        char path[32];
        kitsune__format(path, sizeof path, "/proc/self/fd/%d", kept_file);
        name_function(verdict, path);
        memcpy(outcome.reason, verdict->reason, sizeof verdict->reason);
        kitsune__request_rehearsed(&outcome);
    }
    kitsune__rehearsal_end();
}

/* In the copy. Returns only if it could not begin. */
static void rehearse(struct kitsune__verdict *verdict) {
    kept_file = fcntl(update.request.fd, F_DUPFD_CLOEXEC, KITSUNE__REHEARSAL_DESCRIPTOR);
    kitsune__request_raise(KITSUNE__PENDING_TRANSACTION);
    const struct kitsune__limits held = limits();
    kitsune__journal_rehearse(run_new_version, NULL, update.places, &held, end_rehearsal, verdict);
    end_rehearsal(verdict);
}

/* The program only makes the copy, and goes on. Returns 0, or a code with the reason. */
static uint32_t make_rehearsal(uint64_t since_ns, struct kitsune__verdict *verdict) {
    uint32_t code = kitsune__rehearsal_start(rehearse, verdict);
    if (update.places != NULL)
        kitsune__gather_undo();
    close_copy();
    kitsune__rehearsal_told(kitsune__now_ns() - since_ns);
    return code;
}

/* ---- an update point --------------------------------------------------------------------------- */

/* The request comes once more. */
static void go_on_for_now(void) {
    if (update.places != NULL)
        kitsune__gather_undo();
    close_copy();
}

/* Returns if the program stays what it is: a new version goes on at its own update point. */
static void update_taken(const char *name) {
    struct kitsune__verdict verdict;
    uint64_t since_ns = kitsune__now_ns();
    memset(&verdict, 0, sizeof verdict);
    snprintf(update.old_point, sizeof update.old_point, "%s", name);
    snprintf(kitsune__main_thread->point, sizeof kitsune__main_thread->point, "%s", name);
    finish_idle();
    verdict.code =
        kitsune__gather(wait_ns(), &update.places, verdict.reason, sizeof verdict.reason);
    if (verdict.code == 0 && kitsune__request_put_off(&update.request)) {
        go_on_for_now();
        return;
    }
    if (verdict.code == 0 && update.request.is_rehearsal) {
        verdict.code = make_rehearsal(since_ns, &verdict);
        if (verdict.code == 0)
            return;
    } else if (verdict.code == 0) {
        update_gathered(&verdict);
    }
    finish_failed(&verdict);
}

static void update_now(const char *name) {
    kitsune__own_limits_lift();
    if (kitsune__request_take(&update.request))
        update_taken(name);
    kitsune__own_limits_lower();
}

static void work_at_point(const char *name) {
    uint32_t pending = kitsune__request_pending();
    if (pending & (KITSUNE__PENDING_NOTE | KITSUNE__PENDING_GATHER | KITSUNE__PENDING_UPDATE))
        kitsune__request_note_point(name);
    if (!kitsune__is_main()) {
        if (pending & KITSUNE__PENDING_GATHER)
            kitsune__gather_park(name);
        else if (pending & KITSUNE__PENDING_RETIRE)
            kitsune__quiesce_idle();
        return;
    }
    if (pending & KITSUNE__PENDING_SERVICE)
        kitsune__request_service();
    if (pending & KITSUNE__PENDING_RETIRE)
        kitsune__quiesce_idle();
    if (pending & KITSUNE__PENDING_TRIAL)
        kitsune__trial_arrive(name);
    if (kitsune__request_pending() & KITSUNE__PENDING_UPDATE)
        update_now(name);
}

static int is_incoming(const struct kitsune_release *site) {
    return kitsune__journal_active() && kitsune__image_incoming() != NULL &&
           site == kitsune__image_incoming()->release;
}

/* At an update point of the new version: only its main and its threads' start functions get to one. */
static void arrive(const char *name) {
    enum kitsune__phase phase = kitsune__journal_current_phase();
    if (phase != KITSUNE__PHASE_MAIN && phase != KITSUNE__PHASE_THREAD)
        kitsune__journal_abort(KITSUNE__REFUSED_CALL, "kitsune_update(\"%s\") was called", name);
    if (!kitsune__is_main())
        kitsune__takeover_at_point(name);
    else if (strcmp(name, update.new_point) == 0)
        commit();
}

void kitsune__update(const struct kitsune_release *site, const char *name) {
    int saved = errno;
    if (kitsune__self == NULL)
        return;
    if (is_incoming(site))
        arrive(name);
    else if (site == kitsune__image_current()->release && kitsune__journal_active())
        kitsune__journal_abort(KITSUNE__RETURNED,
                               "the new version went back into the code of the old one, to its "
                               "update point '%s'",
                               name);
    else if (site == kitsune__image_current()->release)
        work_at_point(name);
    errno = saved;
}

/* ---- fork ------------------------------------------------------------------------------------ */

void kitsune__quiesce_drop_in_child(void) {
    kitsune__rehearsal_end_child();
    end_retiring();
    if (kitsune__journal_is_inherited())
        kitsune__signals_leave_in_child();
    kitsune__journal_drop_in_child();
    kitsune__retire_drop_in_child();
    kitsune__trial_follow_child();
    kitsune__gather_drop_in_child();
    if (!kitsune__is_main()) {
        own_stack = kitsune__threads_drop_in_child();
        base = NULL;
    } else {
        kitsune__threads_drop_in_child();
    }
    kitsune__load_tell();
}

/* A child must not find the work of another thread half done, nor the linker's lock taken by it. */
void kitsune__quiesce_before_fork(void) {
    begin_retiring();
}

void kitsune__quiesce_note_child(void) {
    end_retiring();
    kitsune__journal_note("the new version started a process, which goes on");
}

void kitsune__quiesce_start(void) {
    kitsune__wait_set_idle_work(kitsune__quiesce_idle);
    if (pthread_atfork(kitsune__quiesce_before_fork, kitsune__quiesce_note_child,
                       kitsune__quiesce_drop_in_child) != 0)
        kitsune__log("no memory to follow the program's children");
}

/* ---- the program's API ----------------------------------------------------------------------- */

int kitsune__is_updating(const struct kitsune_release *site) {
    return is_incoming(site);
}

int kitsune__is_updating_from(const struct kitsune_release *site, const char *name) {
    if (!is_incoming(site) || kitsune__self == NULL)
        return 0;
    const char *new = kitsune__is_main() ? update.new_point : kitsune__takeover_point(0);
    const char *old = kitsune__is_main() ? update.old_point : kitsune__takeover_point(1);
    return (new != NULL &&strcmp(name, new) == 0) || strcmp(name, old) == 0;
}

int kitsune__has_updated(void) {
    return has_updated || kitsune__journal_active();
}

int kitsune__update_requested(void) {
    return !kitsune__journal_active() &&
           (kitsune__request_pending() & (KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_GATHER)) != 0;
}

void kitsune__set_next_version(char *path) {
    if (path != next_version)
        free(next_version);
    next_version = path;
}

void kitsune__signal_update(void) {
    struct kitsune__outcome outcome;
    if (kitsune__journal_active())
        return;
    if (next_version == NULL) {
        kitsune__log("kitsune_signal_update: kitsune_set_next_version was not called");
        return;
    }
    int result = kitsune__request_inside(next_version, 0, &outcome);
    if (result == 0 && !kitsune__is_main())
        kitsune__gather_kick_main();
    if (result != 0)
        kitsune__log("%s was not installed: %s: %s", next_version, outcome.code, outcome.reason);
}

void kitsune__clear_request(void) {
    if (!kitsune__journal_active())
        kitsune__request_withdraw();
}

void kitsune__do_automigrate(const struct kitsune_release *site) {
    if (!is_incoming(site))
        return;
    enum kitsune__phase before = kitsune__journal_phase(KITSUNE__PHASE_TRANSFORM, NULL);
    kitsune__xf_automigrate(update.xf);
    kitsune__journal_phase(before, NULL);
}

int kitsune__migrate(const struct kitsune_release *site, const char *key, void *address) {
    if (!is_incoming(site))
        return 0;
    enum kitsune__phase before = kitsune__journal_phase(KITSUNE__PHASE_TRANSFORM, key);
    int result = kitsune__xf_migrate(update.xf, key, address);
    kitsune__journal_phase(before, NULL);
    return result;
}

/* Outside an update the running version is both the old and the new one. */
static struct kitsune__registry *registry_for(int new_version) {
    struct kitsune__registry *registry;
    if (kitsune__journal_active())
        return new_version ? update.to : update.from;
    const struct kitsune__image *image = kitsune__image_current();
    if (image == NULL) /* a constructor of the first release */
        return NULL;
    return kitsune__registry_open(&registry, image->release) == 0 ? registry : NULL;
}

static void done_with(struct kitsune__registry *registry) {
    if (registry != update.to && registry != update.from)
        kitsune__registry_close(registry);
}

void *kitsune__lookup_key(int new_version, const char *key) {
    struct kitsune__registry *registry = registry_for(new_version);
    if (registry == NULL)
        return NULL;
    const struct kitsune_symbol *symbol = kitsune__registry_find(registry, key, NULL);
    void *address = symbol != NULL ? kitsune__registry_address(registry, symbol) : NULL;
    if (symbol != NULL && symbol->flags & KITSUNE_SYMBOL_LOCAL)
        address = kitsune__frames_find(key, kitsune__journal_active() && !new_version);
    done_with(registry);
    return address;
}

const char *kitsune__lookup_address(int new_version, const void *address) {
    struct kitsune__registry *registry = registry_for(new_version);
    uint64_t offset = 0;
    if (registry == NULL)
        return NULL;
    const struct kitsune_symbol *symbol = kitsune__registry_function_at(registry, address);
    if (symbol == NULL)
        symbol = kitsune__registry_variable_at(registry, address, &offset);
    if (symbol == NULL && new_version)
        symbol = kitsune__frames_symbol_at(address);
    const char *key = symbol != NULL && offset == 0 ? symbol->key : NULL;
    done_with(registry);
    return key;
}
