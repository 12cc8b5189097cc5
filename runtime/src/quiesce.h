/*
 * Update points and the request gate.
 *
 * The gate is one page, shared with the helper process and mapped over `kitsune_gate` of each loaded
 * release. Its word `pending` holds the bits below; kitsune_update() of kitsune.h takes the slow path
 * while any is set. Bits are set with an atomic OR (also by the helper and by signal handlers) and
 * cleared only by the program's thread.
 */
#ifndef KITSUNE_QUIESCE_H
#define KITSUNE_QUIESCE_H

#include "kitsune_abi.h"
#include "outcome.h"

/* An update was asked for: kitsune__request_take() has it. */
#define KITSUNE__PENDING_REQUEST 0x1u
/* Retired objects and images wait for slices of work (retire.h). */
#define KITSUNE__PENDING_RETIRE 0x2u
/* The helper process wants attention: kitsune__request_attend() of request.h. */
#define KITSUNE__PENDING_HELPER 0x4u
/* A transaction is under way: all update points of the new version take the slow path. */
#define KITSUNE__PENDING_TRANSACTION 0x8u
/* A dead snapshot clone waits to be reaped. */
#define KITSUNE__PENDING_REAP 0x10u

/* What an update is asked to do. Strings are the caller's and must stay valid until the outcome. */
struct kitsune__update_request {
    const char *path;         /* the release as the user named it, for messages and status */
    const char *private_path; /* the private copy to load; NULL: the launcher makes one */
    uint64_t limit_ns;        /* time from snapshot to commit; 0: the default (10 s) */
};

/*
 * Makes the gate. Called once, before the helper process is cloned and before the first release is
 * loaded. Returns 0, or -1 with errno.
 */
int kitsune__gate_create(void);
/* Maps the shared page over a loaded release's gate. 0, or -1 with errno. */
int kitsune__gate_map(struct kitsune_gate *gate);
/* The shared page itself; valid in the helper too. */
struct kitsune_gate *kitsune__gate(void);
/* Sets / clears bits. Set: any context, helper included. Clear: the program's thread. */
void kitsune__gate_set(uint32_t bits);
void kitsune__gate_clear(uint32_t bits);
uint32_t kitsune__gate_pending(void);
/* In a child process after fork: private, empty gates from now on; updates are off for ever. */
void kitsune__gate_drop_in_child(void);

/*
 * Before a blocking call of the program (wait.c): does pending background work. Returns non-zero if
 * an update is requested, in which case the caller should make its call return early only if an
 * update point is sure to follow; it is the caller's policy.
 */
int kitsune__quiesce_before_block(void);

/* Nothing of an update is under way and none was ever: for `status`. */
struct kitsune__update_state {
    uint32_t updates;      /* committed so far */
    uint32_t rollbacks;    /* so far */
    int in_transaction;    /* non-zero between snapshot and commit or rollback */
    const char *last_point; /* name of the update point last passed on the slow path, or "" */
};
void kitsune__update_state(struct kitsune__update_state *state);

/*
 * Runs one update from the update point `name` of the running version. Returns in the old version
 * after a rollback, and in the NEW version (on its stack, from its own kitsune_update) after a
 * commit: the caller's frame is gone then, and the outcome reaches only
 * kitsune__request_outcome(). `site` is the release that stands at the update point.
 */
void kitsune__update_from(const struct kitsune_release *site, const char *name,
                          const struct kitsune__update_request *request);

/*
 * Provided by request.c (control):
 *  - kitsune__request_take: non-zero and `*request` filled if an update is to be made now.
 *  - kitsune__request_outcome: called exactly once for each request taken, in the program's thread,
 *    outside the transaction (in the old version after a rollback, in the new one after a commit).
 *  - kitsune__request_attend: bit KITSUNE__PENDING_HELPER was set.
 */
int kitsune__request_take(struct kitsune__update_request *request);
void kitsune__request_outcome(const struct kitsune__outcome *outcome);
void kitsune__request_attend(void);

/* Entries of struct kitsune_launcher (kitsune_abi.h). */
void kitsune__update(const struct kitsune_release *site, const char *name);
int kitsune__is_updating(const struct kitsune_release *site);
int kitsune__is_updating_from(const struct kitsune_release *site, const char *name);
int kitsune__has_updated(void);
int kitsune__update_requested(void);
void kitsune__signal_update(void);
void kitsune__set_next_version(char *path);
void kitsune__clear_request(void);
void kitsune__do_automigrate(const struct kitsune_release *site);
int kitsune__migrate(const struct kitsune_release *site, const char *key, void *address);
void *kitsune__lookup_key(int new_version, const char *key);
const char *kitsune__lookup_address(int new_version, const void *address);

#endif
