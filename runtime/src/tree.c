#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "platform.h"

/* Places looked at before one is taken that was never used. */
#define TRIES 8
/* The kernel tells the start of a process in hundredths of a second. */
#define TICK_NS 10000000u
#define START_FIELD 22

static size_t whole_pages(size_t size) {
    size_t page = kitsune__page_size();
    return (size + page - 1) / page * page;
}

static size_t stride(void) {
    return kitsune__page_size() + whole_pages(sizeof(struct kitsune__control));
}

/* Places. Not in the mapping, where a process with fewer rights could change it. */
static uint32_t capacity;

static size_t mapping_size(void) {
    return whole_pages(sizeof(struct kitsune__tree)) + capacity * stride();
}

/* Untouched pages cost nothing, but for a program whose address space is limited. */
struct kitsune__tree *kitsune__tree_map(void) {
    for (capacity = KITSUNE__PLACES; capacity > 0; capacity /= 8) {
        struct kitsune__tree *tree = mmap(NULL, mapping_size(), PROT_READ | PROT_WRITE,
                                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (tree == MAP_FAILED)
            continue;
        madvise(tree, mapping_size(), MADV_DONTDUMP);
        return tree;
    }
    return NULL;
}

uint32_t kitsune__tree_capacity(void) {
    return capacity;
}

const void *kitsune__tree_end(const struct kitsune__tree *tree) {
    return (const char *)tree + mapping_size();
}

struct kitsune__control *kitsune__tree_place(struct kitsune__tree *tree, uint32_t index) {
    return (void *)((char *)tree + whole_pages(sizeof *tree) + index * stride() +
                    kitsune__page_size());
}

struct kitsune_gate *kitsune__tree_gate(struct kitsune__control *control) {
    return (void *)((char *)control - kitsune__page_size());
}

uint32_t kitsune__tree_used(struct kitsune__tree *tree) {
    uint32_t used = tree->used;
    return used < capacity ? used : capacity;
}

/* ---- taking a place ------------------------------------------------------------------------- */

static uint64_t boot_ns(void) {
    struct timespec now = {0, 0};
    KITSUNE__SYSCALL(SYS_clock_gettime, CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The program's first process, in a process that has other numbers; else 0. */
static int32_t witness;

void kitsune__tree_renumber(const struct kitsune__tree *tree) {
    witness = tree->root;
}

static int is_in_proc(int32_t pid) {
    char name[16];
    kitsune__format(name, sizeof name, "%d", pid);
    return KITSUNE__SYSCALL(SYS_faccessat, kitsune__proc_descriptor(), name, F_OK) == 0;
}

/* A process may not see all others in /proc: only if it sees the first one it can say who is gone. */
static int is_gone(int32_t pid) {
    pid = pid < 0 ? -pid : pid;
    return witness != 0 ? is_in_proc(witness) && !is_in_proc(pid)
                        : KITSUNE__SYSCALL(SYS_kill, pid, 0) == -ESRCH;
}

static int take(struct kitsune__control *place, int32_t pid) {
    int32_t owner = place->owner;
    if (owner != 0 && !is_gone(owner))
        return 0;
    return atomic_compare_exchange_strong(&place->owner, &owner, -pid);
}

/* Places that were used before come first: so a server that forks for ever touches few. One below
 * `used` that has had no owner yet is about to be taken by another process: left without it, that would
 * take a place beyond `used`, where nobody looks. */
static struct kitsune__control *take_any(struct kitsune__tree *tree, int32_t pid) {
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        uint32_t used = kitsune__tree_used(tree);
        if (used == 0)
            break;
        struct kitsune__control *place =
            kitsune__tree_place(tree, atomic_fetch_add(&tree->next, 1u) % used);
        if (place->owner != 0 && take(place, pid))
            return place;
    }
    if (tree->used < capacity) {
        uint32_t index = atomic_fetch_add(&tree->used, 1u);
        if (index < capacity && take(kitsune__tree_place(tree, index), pid))
            return kitsune__tree_place(tree, index);
    }
    for (uint32_t index = 0; index < capacity; index++)
        if (take(kitsune__tree_place(tree, index), pid))
            return kitsune__tree_place(tree, index);
    return NULL;
}

struct kitsune__control *kitsune__tree_enter(struct kitsune__tree *tree, int32_t pid,
                                             const struct kitsune__lineage *origin) {
    struct kitsune__control *place = take_any(tree, pid);
    struct timespec now;
    if (place == NULL)
        return NULL;
    clock_gettime(CLOCK_REALTIME, &now);
    place->state = KITSUNE__IDLE;
    place->look = KITSUNE__LOOK_NONE;
    place->past_count = 0;
    place->image_count = 0;
    place->forking = 0;
    place->parent = origin != NULL ? origin->parent : 0;
    place->started = now.tv_sec;
    place->since = boot_ns();
    if (origin != NULL) {
        place->serial = origin->serial;
        place->running = origin->running;
        place->running_since = origin->running_since;
    }
    __atomic_store_n(&kitsune__tree_gate(place)->pending, 0u, __ATOMIC_RELEASE);
    place->owner = pid;
    return place;
}

void kitsune__tree_note_left_out(struct kitsune__tree *tree, int32_t pid, int is_elsewhere) {
    for (uint32_t index = 0; index < KITSUNE__LEFT_OUT; index++) {
        struct kitsune__left_out *note = &tree->left_out[index];
        int32_t owner = note->pid;
        if ((owner != 0 && !is_gone(owner)) ||
            !atomic_compare_exchange_strong(&note->pid, &owner, -pid))
            continue;
        note->since = boot_ns();
        note->is_elsewhere = (uint32_t)is_elsewhere;
        note->pid = pid;
        return;
    }
    tree->unknown++;
}

/* ---- who lives ------------------------------------------------------------------------------ */

/* The field of /proc/PID/stat as a number, and the letter of the state; 0 if there is no such process,
 * -1 if that may not be known. */
static int read_stat(int32_t pid, char *state, uint64_t *start) {
    char path[64], text[512], *at;
    kitsune__format(path, sizeof path, "/proc/%d/stat", pid);
    long file = KITSUNE__SYSCALL(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0)
        return is_gone(pid) ? 0 : -1;
    long got = KITSUNE__SYSCALL(SYS_read, file, text, sizeof text - 1);
    KITSUNE__SYSCALL(SYS_close, file);
    if (got <= 0)
        return is_gone(pid) ? 0 : -1;
    text[got] = '\0';
    at = strrchr(text, ')'); /* the name before it may hold anything */
    if (at == NULL || at[1] != ' ')
        return -1;
    *state = at[2];
    for (unsigned field = 2; at != NULL && field < START_FIELD; field++)
        at = strchr(at + 1, ' ');
    *start = 0;
    for (at = at != NULL ? at + 1 : ""; *at >= '0' && *at <= '9'; at++)
        *start = *start * 10 + (uint64_t)(*at - '0');
    return 1;
}

/* Non-zero unless it became another program, which does not know what a kick is. */
static int runs_the_launcher(int32_t pid) {
    struct stat its, ours;
    char path[64];
    kitsune__format(path, sizeof path, "/proc/%d/exe", pid);
    if (stat(path, &its) < 0 || stat("/proc/self/exe", &ours) < 0)
        return 1;
    return its.st_dev == ours.st_dev && its.st_ino == ours.st_ino;
}

int kitsune__tree_is_alive(int32_t pid, uint64_t since) {
    char state = 0;
    uint64_t start = 0;
    int found = pid > 0 ? read_stat(pid, &state, &start) : 0;
    if (found < 0)
        return 1;
    /* Another process under the same number was started later. */
    return found && state != 'Z' && state != 'X' && start * TICK_NS <= since &&
           runs_the_launcher(pid);
}

int32_t kitsune__tree_owner(const struct kitsune__control *control) {
    int32_t owner = control->owner;
    return kitsune__tree_is_alive(owner, control->since) ? owner : 0;
}

uint32_t kitsune__tree_left_out(struct kitsune__tree *tree, struct kitsune__left_out *some) {
    uint32_t count = tree->unknown;
    memset(some, 0, sizeof *some);
    for (uint32_t index = 0; index < KITSUNE__LEFT_OUT; index++) {
        const struct kitsune__left_out *note = &tree->left_out[index];
        int32_t pid = note->pid;
        if (!kitsune__tree_is_alive(pid, note->since))
            continue;
        some->pid = pid;
        some->is_elsewhere = note->is_elsewhere;
        count++;
    }
    return count;
}
