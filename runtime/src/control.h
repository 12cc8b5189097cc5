/*
 * What the program, its children and their helper process share: one mapping (tree.h), MAP_SHARED and
 * anonymous, so that it needs no descriptor and no file. It holds one struct kitsune__tree, and for each
 * process a gate, in a page of its own, and a struct kitsune__control.
 *
 * Invariants:
 *  - Everything about a request (`serial`, `path`, `limits`, `release`, `outcome`, and adding to the
 *    history) belongs to whoever moved `state` last, by the table below.
 *  - Both sides may die at any instruction: texts are read with their bounds, numbers are only shown.
 *  - `running` is written by the program while it holds the request, and read by the helper while
 *    nobody does.
 *
 *   state      | who may leave it, to               | meaning
 *   -----------+------------------------------------+-------------------------------------------
 *   IDLE       | helper or program -> CHECKING      | no request
 *   CHECKING   | who claimed it -> PENDING or IDLE  | `origin` checks the release
 *   PENDING    | program -> TAKEN; either -> IDLE   | checked; the gate is set after this
 *   TAKEN      | program -> DONE or IDLE (inside)   | the transaction runs
 *              |   or READY or REHEARSING           |
 *   REHEARSING | copy -> DONE; helper -> IDLE       | a copy of the program has it
 *   READY      | program -> DONE                    | of a round: waits for the tree's verdict
 *   DONE       | helper -> IDLE                     | `outcome` is there to be told
 *              |   or CHECKING, of a round            |   (if it puts the update off: not yet)
 *
 * A round is the update of all processes of a tree, all or none. Its commit is one compare-and-swap on
 * `verdict`: by the helper to commit, by the helper or any process that cannot wait longer to undo. So no
 * two processes can ever see it end differently.
 *
 * A helper that finds CHECKING, REHEARSING or DONE of a helper that died moves it to IDLE.
 */
#ifndef KITSUNE_CONTROL_H
#define KITSUNE_CONTROL_H

#include <stdatomic.h>
#include <sys/types.h>

#include "outcome.h"
#include "request.h"
#include "trace.h"

enum kitsune__state {
    KITSUNE__IDLE = 0,
    KITSUNE__CHECKING,
    KITSUNE__PENDING,
    KITSUNE__TAKEN,
    KITSUNE__DONE,
    KITSUNE__READY,
    KITSUNE__REHEARSING
};

/* What `verdict` holds beside the number of the round, of which it is KITSUNE__DECISIONS times. */
enum { KITSUNE__UNDECIDED = 0, KITSUNE__COMMIT_ALL, KITSUNE__UNDO_ALL, KITSUNE__DECISIONS = 4 };

enum kitsune__origin { KITSUNE__FROM_OUTSIDE = 0, KITSUNE__FROM_INSIDE };

/* One update or attempt of the past, for `status`. */
struct kitsune__past {
    uint64_t serial;
    int64_t at; /* seconds since 1970 */
    uint32_t committed;
    uint32_t code; /* enum kitsune__code; 0 if committed */
    char from[64], to[64];
    char reason[256];
    uint64_t pause_ns, objects;
    char old_image[128]; /* what became of it, or "" if not yet known */
};

#define KITSUNE__HISTORY 32

#define KITSUNE__ANY_FORKS UINT32_MAX

/* How long a program may take to its update points, if the request does not say. */
#define KITSUNE__DEFAULT_WAIT_MS 10000

/* Where a thread was last seen; `tid` is 0 in a free slot. Written by that thread alone, once it has the
 * slot; only shown. */
struct kitsune__seen {
    _Atomic int32_t tid;
    int64_t at; /* seconds since 1970 */
    char point[64];
};

#define KITSUNE__SEEN 128

/* The main thread, asked by a kick, tells in the report what the kick interrupted. */
enum kitsune__look { KITSUNE__LOOK_NONE = 0, KITSUNE__LOOK_WANTED, KITSUNE__LOOK_DONE };

/* One process of the tree. */
struct kitsune__control {
    _Atomic int32_t owner; /* the process; see tree.h */
    int32_t parent;        /* who forked it; 0: the first */
    int64_t started;
    uint64_t since; /* when it took its place: CLOCK_BOOTTIME, ns */

    struct kitsune__running running;
    int64_t running_since;

    _Atomic uint32_t state;
    _Atomic uint64_t serial;
    uint32_t origin;
    uint32_t round;   /* 0: the request is of this process alone */
    uint32_t gave_up; /* it was this process that undid the round */
    /* Forks that this process began; and, of a round that wants all its children before it, how many of
     * them the round knows the children of (else KITSUNE__ANY_FORKS). */
    _Atomic uint32_t forks;
    uint32_t forks_known;
    /* Of the first process of a namespace of process numbers: forks begun in it whose child has not taken its
     * place yet. They end with that process, which a count of the tree's would not notice. */
    _Atomic int32_t forking;
    uint32_t puts_off; /* it is DONE without an outcome: the children come first */
    struct kitsune__limits limits;
    uint64_t wait_ms;
    uint32_t is_rehearsal;
    /* Of a rehearsal. `copy` is 0 while there is none; `outcome` is whole once `has_outcome` is set, and
     * may become better until the state moves. */
    _Atomic int32_t copy;
    volatile uint32_t copy_has_let_go; /* of the program's open files */
    _Atomic uint32_t has_outcome;
    _Atomic uint64_t clone_ns, stopped_ns;
    char path[PATH_MAX];
    struct kitsune__running release;
    struct kitsune__outcome outcome;
    struct kitsune__report
        report;            /* more of `outcome`, or of a request that the helper withdraws */
    _Atomic uint32_t look; /* enum kitsune__look */

    struct kitsune__seen seen[KITSUNE__SEEN];

    /* What is mapped, the newest first. Written by the program alone; only shown. */
    uint32_t image_count;
    struct kitsune__mapped images[KITSUNE__IMAGES];

    _Atomic uint64_t past_count; /* entries ever written; entry n lies at n % KITSUNE__HISTORY */
    struct kitsune__past past[KITSUNE__HISTORY];
};

/* Processes of a tree that can be updated. */
#define KITSUNE__PLACES 1024

/* A process that found no place. */
struct kitsune__left_out {
    _Atomic int32_t pid;
    uint32_t is_elsewhere; /* in namespaces of its own: see kitsune__request_cloned */
    uint64_t since;
};

#define KITSUNE__LEFT_OUT 256

/* A forked child that may become the heir of the channel; `pid` is 0 in a free slot. `settled` counts
 * how often that child was seen to live on after forking itself: see settle_children. */
struct kitsune__candidate {
    _Atomic int32_t pid;
    int32_t parent;
    _Atomic uint32_t settled;
};

#define KITSUNE__CANDIDATES 64

/* States of `ready`, a futex. */
enum { KITSUNE__STARTING = 0, KITSUNE__LISTENING, KITSUNE__FAILED };

struct kitsune__tree {
    /* Set before the first helper starts; constant. */
    char runtime_directory[256]; /* $KITSUNE_RUNTIME_DIR, or "" */
    char user_directory[256];    /* $XDG_RUNTIME_DIR, or "" */

    uint32_t may_be_filtered; /* $KITSUNE_SECCOMP is "allow" */
    uint32_t filters;         /* of system calls, at the start: those of a container, say */

    _Atomic int32_t root; /* the process whose child the helper is; 0: not started yet */
    _Atomic int32_t helper;
    _Atomic uint32_t replacements; /* helpers after the first, by death or taking over */
    uint64_t helper_started;       /* CLOCK_MONOTONIC, ns */
    _Atomic uint32_t ready;
    char failure[256];   /* why the helper could not listen; before `ready` is FAILED */
    char fetch_name[48]; /* of the abstract socket, without its first zero byte */

    /* Places. */
    _Atomic uint32_t used, next;
    struct kitsune__left_out left_out[KITSUNE__LEFT_OUT];
    _Atomic uint32_t
        unknown; /* processes for which there was not even a note; they may have ended */

    /* The round. */
    uint32_t round;           /* number of the last one */
    _Atomic uint32_t verdict; /* a futex */
    _Atomic uint32_t beat;    /* counted up while a helper carries a round out */
    char cause[512];          /* why it is undone; before the verdict */

    /* Daemonising. */
    struct kitsune__candidate candidates[KITSUNE__CANDIDATES];
    _Atomic uint32_t settled; /* as of a candidate, of the root */
    _Atomic int32_t
        forking;          /* forks begun whose child has not taken its place yet; but see above */
    _Atomic int32_t heir; /* the child that is asked to take over */
    _Atomic int32_t adopted; /* the child that did */
};

/* What the helper keeps mapped: all that was mapped before the first release was loaded. */
struct kitsune__range {
    uintptr_t start, end;
};

struct kitsune__kept {
    unsigned count;
    struct kitsune__range ranges[512]; /* the last three are for the helper's own */
};

/* The helper's life; does not return. Runs in a raw clone of the launcher with all signals blocked;
 * `kept` is its own copy. */
void kitsune__helper_main(struct kitsune__tree *tree, struct kitsune__kept *kept)
    __attribute__((noreturn));

/* Adds to the history. For whoever holds the request. Async-signal-safe. */
void kitsune__control_note(struct kitsune__control *control,
                           const struct kitsune__outcome *outcome);

/* The gate that this process' waits test: shared with the helper, or a private page in a child that has
 * no place. */
extern struct kitsune_gate *kitsune__control_gate;
/* Number of the present request. */
uint64_t kitsune__control_serial(void);

/* In the kick's handler: ends the wrapped call that `context` (of a signal handler) interrupted. Returns 0
 * if it interrupted something else. */
int kitsune__wait_interrupt(void *context);

#endif
