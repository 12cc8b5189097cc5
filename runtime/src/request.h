/*
 * Requests for updates: how one reaches the program, and how its outcome leaves it.
 *
 * A helper process (helper.c) holds the control socket and checks releases; it and the program share
 * one mapping (control.h). This header is what the launcher's other modules see of it.
 *
 * Invariants:
 *  - No thread is ever started, no descriptor stays open in the program, and no lock or allocator of
 *    libc is used: every function here but `kitsune__request_prepare` may run with libc's locks held.
 *  - The program hears of a request only after the release has passed every check that can be made
 *    without the program.
 *  - A rehearsal is carried out by a copy of the program; the program itself only makes that.
 *  - A request is either taken by the program (then it gets exactly one outcome) or withdrawn by the
 *    helper, never both: one compare-and-swap decides.
 *  - A forked child has a gate and a place of its own (tree.h), by which the helper of the tree reaches
 *    it as it does the parent. One that found no place has a private gate in which nobody sets
 *    KITSUNE__PENDING_UPDATE. A child becomes the root of the tree if the former one ended after
 *    forking it (daemonising).
 *
 * All functions belong to the program's main thread and are called outside signal handlers, unless
 * they say otherwise.
 */
#ifndef KITSUNE_REQUEST_H
#define KITSUNE_REQUEST_H

#include <limits.h>
#include <signal.h>
#include <stdint.h>

#include "kitsune_abi.h"
#include "time_limits.h"
#include "trace.h"

/* What runs at the moment. Texts are zero-terminated. */
struct kitsune__running {
    char program[64];
    char version[64];
    uint8_t build_id[KITSUNE_BUILD_ID_SIZE];
    /* That of the version's own release: `build_id`, unless a way back led here. */
    uint8_t version_id[KITSUNE_BUILD_ID_SIZE];
};

/* Bits of `kitsune_gate.pending`: why an update point leaves its fast path. */
enum {
    KITSUNE__PENDING_UPDATE = 0x1u,  /* a checked request waits for kitsune__request_take */
    KITSUNE__PENDING_SERVICE = 0x2u, /* kitsune__request_service has something to do */
    KITSUNE__PENDING_RETIRE = 0x4u,  /* the launcher's own: old blocks or images to be given back */
    KITSUNE__PENDING_TRANSACTION = 0x8u, /* a transaction runs in this process */
    KITSUNE__PENDING_TRIAL = 0x10u,      /* arrivals are counted (trial.h) */
    KITSUNE__PENDING_GATHER = 0x20u, /* all threads are to park at their update points (gather.h) */
    /* The request has waited a while: main's calls that can only be ended by EINTR are ended, too. */
    KITSUNE__PENDING_INTERRUPT = 0x40u,
    KITSUNE__PENDING_NOTE =
        0x80u /* somebody asked for the status: points that are passed are noted */
};

/* A request that the program has taken. */
struct kitsune__request {
    uint64_t serial; /* counts requests of this process, from 1 */
    struct kitsune__limits limits;
    uint64_t wait_ms; /* for all threads to reach their update points */
    uint32_t round;   /* not 0: it is one of a whole tree's; kitsune__request_hold */
    int is_rehearsal;
    /* The checked, sealed, private copy of the release: `fd` is close-on-exec and belongs to the
     * taker, who closes it when `load_path` has been loaded. The path is unique in this process
     * (libc knows loaded objects by their path) and ends in the descriptor. */
    int fd;
    char load_path[128];
    char source[PATH_MAX]; /* where the copy was made from; for messages */
    struct kitsune__running release;
};

/* How many objects of one type of the new version were transformed. */
struct kitsune__type_share {
    char name[64]; /* "struct entry"; cut off if longer */
    uint64_t moved, in_place;
};

/* What becomes of a call into an image that ran before (oldcode.h). */
enum kitsune__old_code { KITSUNE__CODE_RUNS = 0, KITSUNE__CODE_REDIRECTED, KITSUNE__CODE_REFUSED };

/* Words that are told of one by one. */
#define KITSUNE__HOLDERS 4

/* A word that points into an image: what it lies in, and what it points to. */
struct kitsune__holder {
    uint64_t at; /* 0: in the kernel */
    char place[96], target[96];
};

/* Why an image that ran before is still mapped. */
struct kitsune__held {
    uint32_t is_known; /* a scan has ended */
    uint32_t code;     /* enum kitsune__old_code */
    uint64_t words;    /* that point into it */
    uint64_t calls;    /* that were redirected or refused */
    struct kitsune__holder holders[KITSUNE__HOLDERS];
};

/* An image of a version that is mapped. */
struct kitsune__mapped {
    char version[64];
    uint8_t build_id[KITSUNE_BUILD_ID_SIZE];
    char path[1024]; /* the file that it came from; "" if that is longer */
    uint64_t start, end;
    struct kitsune__held held;
};

/* Images that are told of; the older ones beyond are not. */
#define KITSUNE__IMAGES 32

/* Types with their own share; the rest have the last one together. */
#define KITSUNE__SHARES 64

/* What became of a request. Everything is copied. */
struct kitsune__outcome {
    int committed;
    int is_rehearsal;     /* no update was asked for, and `committed` says that it would be */
    int begun;            /* the new version ran, or could have: if not, nothing was undone */
    char code[8];         /* "K3xx" if not committed, else "" */
    char reason[2048];    /* if not committed: one line for the operator */
    char not_undone[512]; /* what a roll-back could not take back, or "" */
    /* Durations in ns; `pause_ns` is from leaving the old version to going on in either. */
    uint64_t pause_ns, load_ns, snapshot_ns, migrate_ns;
    uint64_t objects, bytes; /* transformed */
    /* Of a rehearsal: memory that the update needs besides what the process has, and by how much the
     * process itself has grown then; the number of other threads. */
    uint64_t memory_bytes, growth_bytes;
    uint64_t waited_ns; /* of the pause: for a processor that others had */
    uint32_t thread_count;
    uint32_t share_count;
    struct kitsune__type_share shares[KITSUNE__SHARES]; /* of `objects`, the largest first */
};

/* ---- start --------------------------------------------------------------------------------- */

/* First thing in the launcher, before any release is loaded: makes the shared mapping, notes what is
 * mapped (the helper keeps only that), installs the handler of SIGURG and that of fork. Returns 0, or
 * -1 with errno set: the program can then run, but not be updated. */
int kitsune__request_prepare(void);

/* Starts the helper; after the first release was loaded, before its main. Returns 0 when the socket
 * listens, else -1 with a text in `why`; the program can run without the channel. */
int kitsune__request_start(const struct kitsune__running *running, char *why, size_t why_size);

/* ---- gates --------------------------------------------------------------------------------- */

/* Maps the shared gate over that of a loaded release. Returns 0, or -1 with errno set. */
int kitsune__request_gate_add(struct kitsune_gate *gate);
/* Forgets a gate before its image is unmapped. */
void kitsune__request_gate_remove(struct kitsune_gate *gate);

/* The program is going to set a filter of its system calls: what control would do at the next update point
 * is done now. */
void kitsune__request_expect_filter(void);
/* The program has set a filter of its system calls: those of control may be its death from here on, so a
 * helper that dies is not replaced. */
void kitsune__request_note_filter(void);
/* Whether it has done so, and not said that an update passes it. Any context. */
int kitsune__request_is_filtered(void);

/* Whether requests reach this process: it has a place of its own in the tree. Any context. */
int kitsune__request_is_owner(void);
/* Whether it is the program that was started, or the daemon that followed it: the helper is its child. Any
 * context. */
int kitsune__request_is_root(void);
/* The number of the last round of its tree, also of one that has just begun. Any context. */
uint32_t kitsune__request_round(void);
/* The pending bits. Any context. */
uint32_t kitsune__request_pending(void);
/* Sets or clears bits in the gates of this process. Any context. */
void kitsune__request_raise(uint32_t bits);
void kitsune__request_lower(uint32_t bits);

/* ---- at an update point -------------------------------------------------------------------- */

/* On KITSUNE__PENDING_SERVICE, at every update point's slow path, before anything else: starts the
 * helper anew if it died, takes the channel over after daemonising. Keeps errno. */
void kitsune__request_service(void);

/* Around a system call by number that makes a process as fork does (wrap_clone.c), of which libc calls no
 * handlers: before it, and after it in parent and child, with its result and flags. A child in a namespace of
 * users of its own has no place, nor one that has process numbers of its own and cannot know what number it has
 * for the helper: it goes on by itself, and so do its children. */
void kitsune__request_expect_clone(unsigned long flags);
void kitsune__request_cloned(long result, unsigned long flags);

/* On KITSUNE__PENDING_UPDATE: takes the request. Returns 1 if `request` is filled: then exactly one
 * kitsune__request_outcome must follow, or a kitsune__request_put_off that is not 0. 0 if it was withdrawn in the meantime (the bit is cleared). */
int kitsune__request_take(struct kitsune__request *request);

/* When all threads stand: non-zero if the request, which was taken, is put off, because it is of a round that
 * takes children before their parents, and this process has forked since its children were looked for. Such a
 * child may need it to come to its update point. The process goes on, and is asked again. */
int kitsune__request_put_off(const struct kitsune__request *request);

/* At the point of the commit, after all that can fail: waits until every process of the tree stands there,
 * at most for the time given. Returns 0 if all are to commit, at once for a request of one process alone;
 * else a code with a reason: all are undone. All signals are blocked from here on. */
uint32_t kitsune__request_hold(const struct kitsune__request *request, uint64_t limit_ns,
                               char *reason, size_t reason_size);

/* Ends the request that was taken. Async-signal-safe; writes only to the shared mapping, so that an
 * undone memory does not undo it. If it is committed, `running` is the new version, else NULL. */
void kitsune__request_outcome(const struct kitsune__outcome *,
                              const struct kitsune__running *running);

/*
 * A rehearsal. The program that has taken the request tells that a copy will have it (before that is made),
 * and then which process it is, how long making it took, and how long the program stood; a copy that
 * could not be made (negative) leaves the request to the program again.
 */
void kitsune__request_rehearses(void);
/* Non-zero while it is under way. */
int kitsune__request_is_rehearsed(void);
void kitsune__request_rehearsed_by(int32_t copy, uint64_t clone_ns, uint64_t stopped_ns);
/* In the copy, first: it owns no channel and has gates of its own. Returns the range of memory that it must
 * go on sharing, to tell the outcome: kitsune__request_rehearsed, once or again, and then that it ends. -1 if
 * nobody waits for that any more. */
struct kitsune__range;
int kitsune__request_enter_copy(struct kitsune__range *shared);
void kitsune__request_rehearsed(const struct kitsune__outcome *);
void kitsune__request_rehearsal_ends(void);

/* The copy holds open nothing any more that the program may close. That waits for it, or for the copy's end. */
void kitsune__request_copy_lets_go(void);
void kitsune__request_await_letting_go(int32_t copy);

/* What became of the old image of the update `serial` ("unloaded", or what keeps it), for `status`. */
void kitsune__request_retired(uint64_t serial, const char *state);

/* Where the details of the present request's failure go; shared, so that no rollback undoes them. */
struct kitsune__report *kitsune__request_report(void);

/* The calling thread stands at that update point, or passes it; for `status`. Nothing is noted, and no
 * system call made, once the program has set a filter of them. */
void kitsune__request_note_point(const char *name);

/* Tells of an image that is mapped: the n-th of `count`, for `status`. */
void kitsune__request_image(uint32_t index, uint32_t count, const struct kitsune__mapped *image);
/* Of the image that starts there: a call into it was dealt with; its code runs again. Signal handlers
 * too. */
void kitsune__request_image_called(uint64_t start);
void kitsune__request_image_runs(uint64_t start);

/* ---- requests from inside (kitsune_signal_update) ------------------------------------------ */

/* Checks the release at `path` in this process and makes a request of it. Returns 0, or -1 with a
 * code and text in `outcome` (also noted in the history). */
int kitsune__request_inside(const char *path, uint64_t limit_ms, struct kitsune__outcome *outcome);
/* Withdraws the waiting request, of whichever origin. Returns 1 if there was one. */
int kitsune__request_withdraw(void);

/* ---- SIGURG, the kick ---------------------------------------------------------------------- */

/* sigaction(SIGURG, …) as the program means it: its action is kept, and called for every SIGURG that
 * is not ours. Returns 0, or -1 with errno set. */
int kitsune__kick_sigaction(const struct sigaction *action, struct sigaction *previous);
/* Whether the program has a handler for it. Any context. */
int kitsune__kick_is_shared(void);
/* Takes SIGURG out of a set that the program wants blocked, unless the program handles it itself. */
void kitsune__kick_filter(sigset_t *blocked);

#endif
