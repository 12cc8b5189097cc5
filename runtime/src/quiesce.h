/*
 * Update points: what happens when kitsune_update() of kitsune.h finds the gate (request.h) set, and
 * the program's API behind the launcher's table.
 *
 * Invariants:
 *  - The gate's bits below 0x8 are request.h's; the one here is set and cleared by the transaction
 *    alone. A killed snapshot is reaped under PENDING_RETIRE.
 *  - One update at a time; its state (which image updates to which, from which point) is ordinary
 *    memory of the launcher: a rollback restores it with everything else.
 *  - The main thread takes requests and begins transactions; other threads park (gather.h), and are then
 *    lent the transaction (takeover.h).
 *  - All functions belong to the program's main thread, outside signal handlers, unless said.
 */
#ifndef KITSUNE_QUIESCE_H
#define KITSUNE_QUIESCE_H

#include "kitsune_abi.h"
#include "outcome.h"

/* Work of the background kind (retire slices, reaping): one short slice; nothing if another thread is
 * at it. Non-zero if more is left. Any tracked thread. For kitsune__wait_set_idle_work. */
int kitsune__quiesce_idle(void);

/* The process is about to end: its copies end before it. Else they would be children of whoever takes over its
 * own, the first process of a namespace, say, which may wait for any child. Async-signal-safe. */
void kitsune__quiesce_end_copies(void);

/* In a child process after fork, also one that the new version makes before the commit: no update is
 * under way here and none comes; the child goes on in the code that forked. Async-signal-safe. */
void kitsune__quiesce_drop_in_child(void);

/* The same around a process that a system call makes: before it, and in the parent. */
void kitsune__quiesce_before_fork(void);
void kitsune__quiesce_note_child(void);

/* Once, before the first release is loaded: hooks into fork. */
void kitsune__quiesce_start(void);
/* Where the first version's main was called: what lies below on the thread's own stack is given back
 * once a later version runs on another. */
void kitsune__quiesce_set_base(void *stack_address);

/* The running update's engine, NULL if there is none. */
struct kitsune_xf *kitsune__engine(void);

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
