/*
 * Trials of a transition: an update at the n-th arrival at an update point, and a count of all arrivals.
 *
 * `kitsune test-update` starts a release under the program's own test driver with
 *
 *   KITSUNE_TRIAL=FILE        made by it, of KITSUNE__TRIAL_SIZE bytes: struct kitsune__trial
 *   KITSUNE_TRIAL_RELEASE=R   optional: the release to become, at the arrival that FILE names
 *   KITSUNE_TRIAL_TREE=1      instead of it: all processes count, and who made FILE asks for the update
 *
 * Without the first of them nothing here does anything and an update point costs what it always does.
 *
 * Invariants:
 *  - The file is shared by all processes that the driver starts, one after another or side by side: its
 *    counters are atomic, and the one process that wins `state` asks for the update.
 *  - The mapping is not private, so that no rollback undoes it; no descriptor stays open.
 *  - A child of the program counts no arrivals unless it becomes the heir of the control channel, or the
 *    whole tree is tried. Then the process that wins `state` stands until it is asked, or another is.
 */
#ifndef KITSUNE_TRIAL_H
#define KITSUNE_TRIAL_H

#include <stdint.h>

#include "request.h"

#define KITSUNE__TRIAL_MAGIC 0x314c414952544b31ull
#define KITSUNE__TRIAL_POINTS 255

/* One update point: as many arrivals in the running version, in all processes. */
struct kitsune__trial_point {
    _Atomic uint64_t arrivals;
    char name[120]; /* "" in a free slot; longer names are cut */
};

/* States of a trial. */
enum {
    KITSUNE__TRIAL_COUNTS = 0, /* nothing is asked for */
    KITSUNE__TRIAL_WAITS,      /* for the arrival */
    KITSUNE__TRIAL_ASKED,      /* the request was made */
    KITSUNE__TRIAL_ENDED       /* `outcome` is there; of a tree, it is not in the file */
};

/* The file, read and written by kitsune_tool/trial.py as well. */
struct kitsune__trial {
    uint64_t magic;
    _Atomic uint32_t state;
    _Atomic uint32_t claimed; /* slots of `points` in use */
    uint64_t arrival;         /* from 1: at this one of `point`, the update is asked for */
    char point[120];
    struct kitsune__trial_point points[KITSUNE__TRIAL_POINTS];
    uint64_t pause_ns, objects;
    char code[8]; /* "" if it was committed */
    char reason[2048];
};

#define KITSUNE__TRIAL_SIZE sizeof(struct kitsune__trial)

/* Maps the file that the environment names, and takes both variables out of the environment. After
 * kitsune__request_prepare, before a release is loaded. */
void kitsune__trial_start(void);
/* In a child after fork: keeps the slow path of its update points. Async-signal-safe. */
void kitsune__trial_follow_child(void);
/* At an update point of the running version, under KITSUNE__PENDING_TRIAL: counts, and asks for the
 * update when it is its turn. */
void kitsune__trial_arrive(const char *name);
/* What became of the update that was asked for; nothing if none was. */
void kitsune__trial_end(const struct kitsune__outcome *outcome);

#endif
