/*
 * The snapshot: a clone of the process that keeps what it was, and puts it back.
 *
 * Invariants:
 *  - The clone has no exit signal (the program's wait never sees it), its own copies of memory and of
 *    the descriptor table, and sleeps. It dies with the process, or is killed.
 *  - Both sides speak through one shared mapping, `struct kitsune__exchange`, which belongs to the
 *    caller, lies outside all private memory and is left alone by the restoration.
 *  - kitsune__snapshot_restore uses no libc state, no allocator, no lock and no private memory that is
 *    not constant: it must run on a stack inside a shared mapping, with all signals blocked. It ends
 *    with private memory, mappings, program break, descriptors, working directory, umask, limits,
 *    name and dispositions equal to the clone's.
 *  - The process need not be able to read the clone's memory: the clone writes what is asked for.
 *  - Status flags, what an epoll watches and a timerfd's setting belong to the open file, which clone and process share:
 *    they are put back if they were saved before they were changed.
 */
#ifndef KITSUNE_SNAPSHOT_H
#define KITSUNE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct kitsune__exchange;

/* Bytes of address space for an exchange; only what is used of it costs memory. */
size_t kitsune__exchange_size(void);

/* Non-zero if what a restoration needs of /proc can be read now; else 0. */
int kitsune__snapshot_possible(void);

/* Before the snapshot: an area of 32 bytes that the kernel writes for a thread (rseq), whose contents a
 * restoration leaves alone. NULL is none. Of more than KITSUNE__AREAS_MAX it restores the rest. */
#define KITSUNE__AREAS_MAX 4096u
void kitsune__snapshot_keep_area(struct kitsune__exchange *exchange, void *area);

/* Takes the snapshot. Returns its process id, or a negative errno. Signals must be blocked. */
pid_t kitsune__snapshot_take(struct kitsune__exchange *exchange);

/* What a restoration found out or could not do. */
struct kitsune__restored {
    uint64_t pages;       /* written back */
    uint32_t mappings;    /* removed or made again */
    uint32_t descriptors; /* closed or given back */
    uint32_t failures;    /* of single steps; `failure` names the last one */
    const char *failure;
    int clone_lost; /* non-zero: the clone was dead, nothing was restored */
    /* The mapping that held `probe` before the restoration: file and offset, for messages. */
    char probe_path[192];
    uint64_t probe_offset;
};

/* Has the clone note the status flags of its descriptor, or what its epoll watches, unless it did so
 * before. Nothing happens if the snapshot has no such descriptor: it is the new version's. */
void kitsune__snapshot_save_flags(struct kitsune__exchange *exchange, pid_t clone, int descriptor);
void kitsune__snapshot_save_watches(struct kitsune__exchange *exchange, pid_t clone, int epoll);
/* The same for what a timerfd is set to. */
void kitsune__snapshot_save_timer(struct kitsune__exchange *exchange, pid_t clone, int timer);

/* Makes the process what it was. `probe` is an address to be explained, or NULL. */
void kitsune__snapshot_restore(struct kitsune__exchange *exchange, pid_t clone, const void *probe,
                               struct kitsune__restored *restored);

/* After that, in the thread that took the snapshot, if another one restored the process: to the kernel,
 * users and groups are each thread's own. */
void kitsune__snapshot_restore_user(struct kitsune__exchange *exchange);

/* Only explains the probe. */
void kitsune__snapshot_explain(struct kitsune__exchange *exchange, const void *probe,
                               struct kitsune__restored *restored);

/* Makes the epoll `to` watch what `from` watches. Without a snapshot, too. */
void kitsune__snapshot_copy_watches(int from, int to);

/* The snapshot is not needed any more: the clone has closed its descriptors when this returns, and ends.
 * Returns non-zero if it is gone, else it must be reaped. */
int kitsune__snapshot_drop(struct kitsune__exchange *exchange, pid_t clone);
/* Reaps a killed clone; waits for it if `wait`. Returns non-zero if it is gone. */
int kitsune__snapshot_reap(pid_t clone, int wait);

#endif
