/*
 * The engine: moves the old version's state into the new one (architecture.md, "The engine").
 *
 * Invariants:
 *  - Old memory is not written before kitsune__xf_settle or the end of a top-level call (automigrate,
 *    migrate); then only by the stores that in-place transformers asked for.
 *  - Each old object has one claim, hence one new address: sharing and cycles are kept. Claims never
 *    overlap; a pointer into the middle of a claim becomes one into the middle of the new object.
 *  - Traversal is a stack of claims, in mapped memory: no recursion.
 *  - The engine's own memory is mapped; only new objects come from the program's allocator.
 *  - Failure never returns: the message names the path from the root and is handed to
 *    `kitsune__xf_options.fail`, which unwinds (the transaction's abort). Nothing is undone here; a
 *    rollback that restores memory, mappings and break takes back all that the engine did.
 *  - All state is in the context: engines of several threads would not share any but the text pool.
 *
 * Context: the program's thread inside a transaction, except where said.
 */
#ifndef KITSUNE__TRANSFORM_H
#define KITSUNE__TRANSFORM_H

#include <stdarg.h>
#include <stdint.h>

#include "kitsune_abi.h"
#include "registry.h"

/* Addresses [start, end). */
struct kitsune__range {
    uintptr_t start, end;
};

struct kitsune__xf_options {
    const struct kitsune__registry *from, *to; /* old and new version; stay open until xf_end */
    const struct kitsune_plan *plan;           /* of the new version; not NULL */
    /* Registries of versions before the old one whose images are still mapped: pointers into them
     * are redirected by key. */
    const struct kitsune__registry *const *earlier;
    uint32_t earlier_count;
    /* The suspended stack of the old version, which ceases to exist: a pointer into it is an error.
     * Empty if unknown. */
    struct kitsune__range dying;
    /* The same of other threads: a range that holds them all (empty: there are none), and the exact
     * test. NULL: none. */
    struct kitsune__range all_dying;
    int (*is_dying)(const void *address);
    /* Polled every 256 objects; non-zero: the update is given up. May be NULL. */
    const volatile uint32_t *cancel;
    /* Gives the update up; must not return. `message` is complete English without a full stop. */
    void (*fail)(void *transaction, const char *message) __attribute__((noreturn));
    void *transaction;
};

/* Makes an engine. Returns 0, or -1 if there is no memory. */
int kitsune__xf_begin(struct kitsune_xf **xf, const struct kitsune__xf_options *options);

/* Migrates all variables of the plan that are AUTO, once. */
void kitsune__xf_automigrate(struct kitsune_xf *xf);
/*
 * Migrates the variable of the new version at `address` (of key `key`). Returns what its migration
 * says: non-zero if a value was migrated. A variable that the plan does not know, or that has no
 * old one, gives 0. A second call for one variable gives the first one's result and does nothing.
 */
int kitsune__xf_migrate(struct kitsune_xf *xf, const char *key, void *address);

/*
 * Other threads' thread-locals. From here on those of the plan mean the ones of the thread whose
 * addresses the two registries hold (opened by it, owned by the engine from now on); NULL: of the
 * thread that began.
 */
void kitsune__xf_enter_thread(struct kitsune_xf *xf, struct kitsune__registry *from,
                              struct kitsune__registry *to);
/* Migrates its thread-locals that are AUTO. */
void kitsune__xf_thread_locals(struct kitsune_xf *xf);
/* What a thread was started with: an address of the image or of an object already met is translated, every
 * other word is kept. */
void *kitsune__xf_thread_argument(struct kitsune_xf *xf, void *argument);

/* What was done to the objects of one type. */
struct kitsune__xf_type_count {
    const char *name;
    uint64_t moved, in_place; /* objects; elements of arrays count one each */
    uint64_t bytes;           /* of the new blocks */
};
struct kitsune__xf_statistics {
    uint64_t variables;       /* migrated */
    uint64_t moved, in_place; /* objects */
    uint64_t bytes;           /* of new blocks */
    uint64_t texts;           /* constants of the old version met that were copied to the pool */
    uint64_t stores;          /* pointers rewritten in place */
    const struct kitsune__xf_type_count *types;
    uint32_t type_count;
};
/*
 * Ends the work: checks the blocks of what moved. After this no call may migrate. The statistics
 * stay valid until kitsune__xf_end. This is the last thing of the engine that can fail.
 */
void kitsune__xf_finish(struct kitsune_xf *xf, struct kitsune__xf_statistics *statistics);

/*
 * The old blocks of what moved, handed over to retire (kitsune__retire_objects). Owns mapped memory.
 * Context: after commit.
 */
struct kitsune__retired;
/* Ends the engine and returns what it leaves behind; NULL if nothing moved. Cannot fail; after the
 * commit. Without a commit it need not be called: the rollback unmaps everything. */
struct kitsune__retired *kitsune__xf_end(struct kitsune_xf *xf);

/* Entries of struct kitsune_launcher (kitsune_abi.h); `xf` is the engine. */
void *kitsune__xf_object(struct kitsune_xf *xf, const void *old, const struct kitsune_type *type);
void *kitsune__xf_objects(struct kitsune_xf *xf, const void *old, uint64_t count,
                          const struct kitsune_type *type);
void *kitsune__xf_objects_terminated(struct kitsune_xf *xf, const void *old,
                                     const struct kitsune_type *type);
void *kitsune__xf_plain(struct kitsune_xf *xf, const void *old, uint64_t size_bytes);
void *kitsune__xf_function(struct kitsune_xf *xf, const void *old);
void *kitsune__xf_word(struct kitsune_xf *xf, const void *old);
void kitsune__xf_store(struct kitsune_xf *xf, void *where, void *value);
void kitsune__xf_settle(struct kitsune_xf *xf);
void kitsune__xf_fail(struct kitsune_xf *xf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void kitsune__xf_failv(struct kitsune_xf *xf, const char *format, va_list arguments)
    __attribute__((noreturn));
void *kitsune__xf_allocate(struct kitsune_xf *xf, uint64_t size_bytes, uint32_t align);
void *kitsune__xf_scratch(struct kitsune_xf *xf, uint64_t size_bytes);

/* ---- what retire needs of the old objects -------------------------------------------------- */

/* One more than the largest index of an object. */
uint64_t kitsune__retired_count(const struct kitsune__retired *retired);
/* The old address of an object that moved; 0 if the one of this index did not, or there is none (0 is
 * no index). `size_bytes` may be NULL. */
uintptr_t kitsune__retired_at(const struct kitsune__retired *retired, uint64_t index,
                              uint64_t *size_bytes);
/* The index of the object that moved away from the address, or UINT64_MAX. */
uint64_t kitsune__retired_find(const struct kitsune__retired *retired, uintptr_t address);
/* What takes an object that moved back to the allocator of its own that it came from; NULL: free. It
 * lies in the image of the version that the object moved to. */
void (*kitsune__retired_allocator(const struct kitsune__retired *retired,
                                  uint64_t index))(void *object);
/* That version is no longer the one that runs: what is not yet back with its allocators stays. */
void kitsune__retired_leave_returned(struct kitsune__retired *retired);
/* Gives a slice of its memory back; non-zero if there is more. The side table (needed by find) goes
 * first. After 0 was returned the structure is gone. */
int kitsune__retired_release(struct kitsune__retired *retired, uint64_t budget_ns);

#endif
