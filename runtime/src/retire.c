/* Freeing the old version after the commit (retire.h). */
#define _GNU_SOURCE
#include "retire.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "apart.h"
#include "blocks.h"
#include "log.h"
#include "oldcode.h"
#include "platform.h"
#include "registry.h"
#include "scan.h"

#define PAGE 4096ul
#define IGNORED_MAX 16
#define VACANT_MAX 64 /* ranges where images were, without memory */
#define REASON_BYTES 160
/* A copy that takes longer is given up; the program pays for each page that it writes meanwhile. */
#define SCAN_LIMIT_NS 20000000000ull
#define FREES_PER_LOOK 32 /* at the clock */
#define FREES_PER_SORT 1024
/* Sets of objects that wait for those of earlier updates. */
#define WAITING_MAX 8

/* What is being done. Each stage ends in the next, the last in IDLE. */
enum stage { IDLE, SCAN, WAIT, FREE, UNLOAD, RELEASE };

/* A version that ran before and is still mapped. */
struct old_image {
    struct kitsune__image *image;
    struct old_image *next;
    int scanned;      /* number in the scan under way, or -1 */
    int unreferenced; /* by the last scan */
    int closed;       /* dlclose was called, but something else holds it */
    char reason[REASON_BYTES];
};

static struct {
    enum stage stage;
    struct kitsune__retired *objects;              /* of one update; owned */
    uint64_t next;                                 /* object to free */
    struct kitsune__retired *waiting[WAITING_MAX]; /* of later updates, oldest first; owned */
    uint32_t waiting_count;
    int only_parked; /* no scan but by kitsune__retire_look */
    int progress;    /* an image was unloaded since the last scan */
    int again;       /* to be scanned once more: an image came while work was under way, or went */
    struct kitsune__scan *scan;
    uint64_t scan_started_ns;
    struct old_image *images; /* newest first; malloc'ed by the launcher */
    struct kitsune__range ignored[IGNORED_MAX];
    struct kitsune__retire_state counts;
} retire;

void kitsune__retire_ignore(const void *start, const void *end) {
    struct kitsune__range range = {(uintptr_t)start, (uintptr_t)end};
    for (int i = 0; i < IGNORED_MAX; i++) {
        if (retire.ignored[i].start != range.start && retire.ignored[i].start)
            continue;
        retire.ignored[i] = range.start == range.end ? (struct kitsune__range){0, 0} : range;
        return;
    }
}

void kitsune__retire_state(struct kitsune__retire_state *state) {
    *state = retire.counts;
}

/* ---- images --------------------------------------------------------------------------------- */

static void do_nothing(void) {
}

/* Changes an entry of the dynamic section, which is write-protected after relocation. */
static void set_dynamic(ElfW(Dyn) * entry, uint64_t value) {
    uintptr_t page = (uintptr_t)entry & ~(PAGE - 1);
    uint64_t bytes = (uintptr_t)(entry + 1) - page;
    if (mprotect((void *)page, bytes, PROT_READ | PROT_WRITE) == 0)
        entry->d_un.d_val = value;
}

/*
 * Takes the destructors out, for dlclose and for the end of the process: they would tear down state
 * that the new version has taken over.
 */
static void disarm(const struct kitsune__image *image) {
    const struct link_map *map = image->handle;
    if (!map)
        return;
    for (ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_FINI_ARRAYSZ)
            set_dynamic(entry, 0);
        else if (entry->d_tag == DT_FINI)
            set_dynamic(entry, (uintptr_t)do_nothing - map->l_addr);
}

static int is_loaded(const void *address) {
    Dl_info info;
    return dladdr(address, &info) != 0;
}

/* Memory that is handed out again may have words in it that pointed into an image, the linker's own about it
 * among them. As long as no later image lies where they point, the scan does not take them for holders of one.
 * So it is with those that are loaded apart; and where addresses are limited they are the program's. */
static void keep_vacant(uintptr_t start, uintptr_t end) {
    static struct kitsune__range vacant[VACANT_MAX];
    static uint32_t next;
    struct rlimit limit;
    if (kitsune__apart_holds((void *)start) || getrlimit(RLIMIT_AS, &limit) != 0 ||
        limit.rlim_cur != RLIM_INFINITY)
        return;
    struct kitsune__range *place = &vacant[next++ % VACANT_MAX];
    if (place->end)
        munmap((void *)place->start, place->end - place->start);
    void *got = mmap((void *)start, end - start, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    int is_kept = (uintptr_t)got == start;
    if (!is_kept && got != MAP_FAILED) /* before Linux 4.17 the address is but a hint */
        munmap(got, end - start);
    *place = is_kept ? (struct kitsune__range){start, end} : (struct kitsune__range){0, 0};
}

/* Non-zero if the image is gone. */
static int unload(struct old_image *old) {
    struct kitsune__image *image = old->image;
    const void *start = image->release->image_start;
    struct kitsune__range range = {(uintptr_t)image->start, (uintptr_t)image->end};
    kitsune__oldcode_forget(image);
    if (!old->closed)
        dlclose(image->handle);
    old->closed = 1;
    if (is_loaded(start)) {
        strcpy(old->reason, "another loaded object needs it");
        return 0;
    }
    kitsune__image_forget(image);
    keep_vacant(range.start, range.end);
    retire.counts.unloaded++;
    retire.counts.images--;
    return 1;
}

/* What an address in the image is, by its table of symbols. */
static void name_target(const struct kitsune_release *release, uintptr_t address, char *name,
                        size_t size) {
    for (const struct kitsune_symbol *symbol = release->symbols; symbol != release->symbols_end;
         symbol++) {
        uint64_t bytes = symbol->size ? symbol->size : 1;
        if (!symbol->key || (symbol->flags & KITSUNE_SYMBOL_THREAD_LOCAL) ||
            address - (uintptr_t)symbol->address >= bytes)
            continue;
        kitsune__format(name, size, "'%s'", symbol->key);
        return;
    }
    kitsune__format(name, size, "byte %lu of the image",
                    (unsigned long)(address - (uintptr_t)release->image_start));
}

/* What a word lies in: a variable of the running version, or what the scan calls it. */
static void name_place(const struct kitsune__scan_word *word, char *name, size_t size) {
    const struct kitsune__image *current = kitsune__image_current();
    const uint8_t *at = (const uint8_t *)word->where;
    if (current && at >= current->start && at < current->end)
        name_target(current->release, word->where, name, size);
    else
        kitsune__format(name, size, "%s", word->place);
}

/* For `status`: the first words that keep the image. */
static void tell_holders(struct kitsune__held *held, const struct kitsune__scan_image *found,
                         const struct kitsune_release *release) {
    held->is_known = 1;
    held->words = found->words;
    memset(held->holders, 0, sizeof held->holders);
    for (uint64_t i = 0; i < found->words && i < KITSUNE__HOLDERS; i++) {
        struct kitsune__holder *holder = &held->holders[i];
        holder->at = found->first[i].where;
        name_place(&found->first[i], holder->place, sizeof holder->place);
        name_target(release, found->first[i].value, holder->target, sizeof holder->target);
    }
}

static void note_result(struct old_image *old) {
    if (old->scanned < 0)
        return;
    const struct kitsune__scan_image *found = &retire.scan->images[old->scanned];
    struct kitsune__held *held = &old->image->held;
    old->scanned = -1;
    old->unreferenced = retire.scan->done && !found->words;
    if (!retire.scan->done) {
        strcpy(old->reason, "memory could not be looked through");
    } else if (found->words) {
        tell_holders(held, found, old->image->release);
        kitsune__format(old->reason, sizeof old->reason,
                        "%lu words point into it, the first at %p in %s, to %s",
                        (unsigned long)found->words, (void *)held->holders[0].at,
                        held->holders[0].place, held->holders[0].target);
        kitsune__oldcode_close(old->image);
    }
}

void kitsune__retire_reason(const struct kitsune__image *image, char *reason, size_t size) {
    reason[0] = '\0';
    for (const struct old_image *old = retire.images; old; old = old->next)
        if (old->image == image)
            kitsune__format(reason, size, "%s", old->reason);
}

/* ---- stages --------------------------------------------------------------------------------- */

static void drop_scan(void) {
    if (retire.scan)
        kitsune__scan_end(retire.scan);
    retire.scan = NULL;
}

/* Without a scan nothing is freed; all that is left is to give the engine's memory back. */
static enum stage give_up_scan(const char *why) {
    for (struct old_image *old = retire.images; old; old = old->next)
        if (!old->unreferenced)
            kitsune__format(old->reason, sizeof old->reason, "%s", why);
    drop_scan();
    return RELEASE;
}

static enum stage start_scan(const void *stack_low) {
    if (kitsune__under_valgrind())
        return give_up_scan("memory is not looked through under valgrind");
    retire.scan = kitsune__scan_prepare(retire.objects);
    if (!retire.scan)
        return give_up_scan("no memory for a look through memory");
    for (int i = 0; i < IGNORED_MAX; i++)
        kitsune__scan_skip(retire.scan, (void *)retire.ignored[i].start,
                           (void *)retire.ignored[i].end);
    const struct kitsune__image *current = kitsune__image_current();
    if (current && current->handle)
        kitsune__scan_skip_link_map(retire.scan, current->handle);
    int number = 0;
    for (struct old_image *old = retire.images; old; old = old->next) {
        int taken = !old->closed && kitsune__scan_add_image(retire.scan, old->image) == 0;
        old->scanned = taken ? number++ : -1;
        kitsune__scan_skip(retire.scan, old, old + 1);
    }
    retire.scan_started_ns = kitsune__now_ns();
    if (kitsune__scan_start(retire.scan, retire.objects, stack_low) != 0)
        return give_up_scan("the process could not be copied to look through its memory");
    return WAIT;
}

static enum stage end_wait(uint64_t limit_ns) {
    if (!kitsune__scan_ended(retire.scan, limit_ns)) {
        if (kitsune__now_ns() - retire.scan_started_ns < SCAN_LIMIT_NS)
            return WAIT;
        return give_up_scan("looking through memory took too long");
    }
    for (struct old_image *old = retire.images; old; old = old->next)
        note_result(old);
    kitsune__load_tell();
    retire.next = 1;
    return FREE;
}

static void free_object(uint64_t index) {
    uint64_t bytes;
    uintptr_t start = kitsune__retired_at(retire.objects, index, &bytes);
    if (!start)
        return;
    void (*give_back)(void *) = kitsune__retired_allocator(retire.objects, index);
    if (!give_back && !kitsune__scan_is_whole(retire.scan, index)) {
        retire.counts.blocks_kept++;
        return;
    }
    memset((void *)start, 0, bytes);
    (give_back ? give_back : free)((void *)start);
    retire.counts.blocks_freed++;
}

static enum stage free_objects(uint64_t deadline_ns) {
    uint64_t count = retire.objects ? kitsune__retired_count(retire.objects) : 0;
    while (retire.next < count) {
        free_object(retire.next++);
        if (retire.next % FREES_PER_SORT == 0)
            kitsune__blocks_sort();
        if (retire.next % FREES_PER_LOOK == 0 && kitsune__now_ns() > deadline_ns)
            return FREE;
    }
    kitsune__blocks_sort();
    drop_scan();
    return UNLOAD;
}

/* One image per slice: unmapping a large one takes its time. */
static enum stage unload_one(void) {
    for (struct old_image **link = &retire.images; *link; link = &(*link)->next) {
        struct old_image *old = *link;
        if (!old->unreferenced)
            continue;
        old->unreferenced = 0;
        if (unload(old)) {
            retire.progress = 1;
            *link = old->next;
            free(old);
        }
        return UNLOAD;
    }
    /* What the linker kept of the one may have pointed into another. */
    retire.again |= retire.progress && retire.images;
    retire.progress = 0;
    return RELEASE;
}

/* What a later update left behind, if it came before all of this was done. */
static enum stage next_set(void) {
    int again = retire.again || retire.waiting_count;
    retire.again = 0;
    if (retire.waiting_count) {
        retire.objects = retire.waiting[0];
        retire.waiting_count--;
        memmove(retire.waiting, retire.waiting + 1,
                retire.waiting_count * sizeof retire.waiting[0]);
    }
    return again ? SCAN : IDLE;
}

static enum stage release(uint64_t budget_ns) {
    if (retire.objects && kitsune__retired_release(retire.objects, budget_ns))
        return RELEASE;
    retire.objects = NULL;
    return next_set();
}

/* The next thing is a scan, which is not to be made now. */
static int is_held(void) {
    return retire.stage == SCAN && retire.only_parked;
}

static int work(uint64_t budget_ns, uint64_t wait_ns, const void *stack_low) {
    uint64_t deadline = kitsune__now_ns() + budget_ns;
    while (retire.stage != IDLE && !is_held()) {
        enum stage before = retire.stage;
        switch (before) {
        case IDLE:
            break;
        case SCAN:
            retire.stage = start_scan(stack_low);
            break;
        case WAIT:
            retire.stage = end_wait(wait_ns);
            break;
        case FREE:
            retire.stage = free_objects(deadline);
            break;
        case UNLOAD:
            retire.stage = unload_one();
            break;
        case RELEASE:
            retire.stage = release(budget_ns);
            break;
        }
        if ((before == WAIT && retire.stage == WAIT) || kitsune__now_ns() > deadline)
            break;
    }
    return retire.stage != IDLE && !is_held();
}

/*
 * The stack below the caller's frame is no longer in use. Registers that the caller may hold pointers
 * in are saved in this frame, which is looked through.
 */
__attribute__((noinline)) int kitsune__retire_slice(uint64_t budget_ns) {
    if (retire.stage == IDLE || is_held())
        return 0;
    __builtin_unwind_init();
    void *volatile stack_low = (void *)&stack_low;
    return work(budget_ns, 0, (const void *)stack_low);
}

__attribute__((noinline)) void kitsune__retire_finish(uint64_t limit_ns) {
    uint64_t deadline = kitsune__now_ns() + limit_ns, now;
    __builtin_unwind_init();
    void *volatile stack_low = (void *)&stack_low;
    while (retire.stage != IDLE && !is_held() && (now = kitsune__now_ns()) < deadline)
        work(deadline - now, deadline - now, (const void *)stack_low);
}

__attribute__((noinline)) void kitsune__retire_look(int only_here) {
    __builtin_unwind_init();
    void *volatile stack_low = (void *)&stack_low;
    retire.only_parked = only_here;
    if (only_here && retire.stage == SCAN)
        retire.stage = start_scan((const void *)stack_low);
}

uint32_t kitsune__retire_backlog(void) {
    return retire.stage == IDLE ? 0 : 1 + retire.waiting_count;
}

/* Objects that come while others are dealt with wait; too many stay for ever. */
static void take_objects(struct kitsune__retired *objects) {
    if (retire.stage == IDLE) {
        retire.objects = objects;
    } else if (objects && retire.waiting_count < WAITING_MAX) {
        retire.waiting[retire.waiting_count++] = objects;
    } else if (objects) {
        kitsune__log("retired objects of the previous version are left unfreed");
        while (kitsune__retired_release(objects, UINT64_MAX))
            continue;
    }
}

/* What an earlier scan found is no longer so, and the code is open until the next has ended. */
static void forget_holders(void) {
    for (struct old_image *old = retire.images; old; old = old->next)
        old->image->held.is_known = 0;
    kitsune__load_tell();
}

void kitsune__retire_begin(struct kitsune__retired *objects, struct kitsune__image *image) {
    if (retire.objects)
        kitsune__retired_leave_returned(retire.objects);
    for (uint32_t i = 0; i < retire.waiting_count; i++)
        kitsune__retired_leave_returned(retire.waiting[i]);
    take_objects(objects);
    if (image) {
        kitsune__oldcode_drop();
        forget_holders();
        disarm(image);
        struct old_image *old = calloc(1, sizeof *old);
        if (old) { /* without memory it stays, and does not tell why */
            *old = (struct old_image){.image = image, .next = retire.images, .scanned = -1};
            retire.images = old;
            retire.counts.images++;
        }
    }
    if (retire.stage > SCAN) /* its scan knows nothing of this */
        retire.again = 1;
    else if (retire.objects || retire.images)
        retire.stage = SCAN;
}

static void drop_all(void) {
    retire.scan = NULL;
    retire.waiting_count = 0;
    retire.again = 0;
    retire.stage = IDLE;
}

void kitsune__retire_drop_in_child(void) {
    if (retire.scan)
        kitsune__scan_forget(retire.scan);
    drop_all();
}

void kitsune__retire_end(void) {
    if (retire.scan)
        kitsune__scan_end(retire.scan);
    drop_all();
}
