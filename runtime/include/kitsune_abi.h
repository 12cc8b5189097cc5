/*
 * The contract between a release (a version of the program, as a shared object) and the launcher
 * (which loads it), and between both and the tables that the front-end inserts and the generator
 * writes.
 *
 * Invariants:
 *  - A release carries data only: tables, transformers, wrapped calls, the request gate. Everything
 *    that acts lives in the launcher and is reached through `struct kitsune_launcher`.
 *  - Every structure here that crosses the border starts with, or is reached through one that starts
 *    with, KITSUNE_ABI and its own size. A change of any layout here increases KITSUNE_ABI.
 *  - All tables are constant after relocation; no constructor runs to build them.
 */
#ifndef KITSUNE_ABI_H
#define KITSUNE_ABI_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define KITSUNE_ABI 4u
#define KITSUNE_MAGIC 0x4b495453554e4531ull /* "KITSUNE1" */
#define KITSUNE_BUILD_ID_SIZE 20

/* ---- what the front-end inserts into each unit --------------------------------------------- */

/* Kinds of a symbol, in `flags`. */
#define KITSUNE_SYMBOL_VARIABLE 0x1u
#define KITSUNE_SYMBOL_FUNCTION 0x2u
#define KITSUNE_SYMBOL_CONST 0x4u
/* `address` is a function `void *(*)(void)` that returns the calling thread's address. */
#define KITSUNE_SYMBOL_THREAD_LOCAL 0x8u
/* A parameter or local of a noted function: `address` is NULL, a frame says where it is. */
#define KITSUNE_SYMBOL_LOCAL 0x10u
/* Registered by kitsune_register_var, and in no table: nothing is known of its type. */
#define KITSUNE_SYMBOL_BY_HAND 0x20u

/*
 * A registered variable or function. Entries of all units lie side by side in the section
 * "kitsune_symbols", 8-byte aligned; one whose key is NULL is padding. Keys are those of the language:
 * "var", "file.c/var", "file.c/func#var", "func", "file.c/func", each optionally "ns@" first.
 */
struct kitsune_symbol {
    const char *key;
    const void *address;
    uint64_t size; /* bytes; 0 for a function */
    uint32_t flags;
    uint32_t reserved;
};

/* A variable that the program has registered by hand while it ran. */
struct kitsune_registered {
    struct kitsune_registered *next;
    struct kitsune_symbol symbol;
    uint32_t auto_migrate, reserved;
};

/*
 * A frame: the block of a noted function that is being executed, with those of its variables whose
 * declaration was reached. It lies in the function's own frame; each thread has a list of its frames,
 * the innermost first. Entering puts a frame in front, leaving (by whatever way but longjmp, which is
 * a wrapped call) takes it out together with all that is further in.
 */
struct kitsune_slot {
    const struct kitsune_symbol *symbol; /* NULL: not reached */
    const volatile void *address;
};
struct kitsune_frame {
    struct kitsune_frame *outer, **head; /* the thread's list */
    uint64_t count;
    struct kitsune_slot slots[];
};

#define KITSUNE_SYMBOLS_SECTION "kitsune_symbols"
#define KITSUNE_RECORDS_SECTION ".kitsune"         /* not loaded: the units' records, as text */
#define KITSUNE_LAYOUTS_SECTION ".kitsune.layouts" /* the compiler's sizes and offsets */
#define KITSUNE_PROGRAM_SECTION ".kitsune.program" /* not loaded: the merged program of a release */

/* ---- how the engine moves state (implemented in the launcher) ------------------------------ */

struct kitsune_xf; /* one update's engine; opaque to releases */
struct kitsune_type;

/* A part of an object, for pointers into the middle of it: members and elements that may be pointed
 * to. Sorted by old_offset, not overlapping except for what a union shares. */
struct kitsune_part {
    uint64_t old_offset, new_offset; /* bytes from the start of the object */
    uint64_t old_size, new_size;     /* bytes of one element */
    uint64_t count;                  /* elements; 1 if no array */
    const struct kitsune_type *type; /* NULL: no inner structure; offsets within are kept */
};

enum kitsune_how {
    /* The object keeps its address; `transform` is called with in == out and must change pointers
     * only, each by kitsune_launcher.store. */
    KITSUNE_IN_PLACE = 1,
    /* Each object gets a new block of new_size bytes, zeroed, then `transform(xf, in, out)`. */
    KITSUNE_MOVE = 2
};

/* A pair of an old and a new type of objects that pointers reach. Constant, one per pair. */
struct kitsune_type {
    const char *name; /* for messages: "struct entry" */
    uint64_t old_size, new_size;
    uint32_t new_align;
    uint32_t how; /* enum kitsune_how */
    /* Reports every pointer of the object through the same calls as `transform` would, without
     * writing (the engine's first pass). NULL if nothing in it needs a visit. */
    void (*visit)(struct kitsune_xf *, const void *in);
    /* Writes the new object. `in` is never written. Fails only through kitsune_launcher.fail. */
    void (*transform)(struct kitsune_xf *, const void *in, void *out);
    const struct kitsune_part *parts;
    uint32_t part_count;
    /* Non-zero: the type is embedded in others or is an element of an array, so that a pointer to it
     * may be a pointer into the middle of a bigger object. */
    uint32_t embedded;
    /* Non-zero: several objects may lie in one block of the allocator, and what else is in the block
     * is none of the engine's business. An old object that moves leaves its bytes there unused. */
    uint32_t pooled;
    /* Bytes behind the fixed part (a flexible array member, or a last member that not every object
     * has whole), of the old and of the new object; NULL if there is none. */
    uint64_t (*old_tail)(struct kitsune_xf *, const void *in);
    uint64_t (*new_tail)(struct kitsune_xf *, const void *in);
    /* In place of `transform`, for types that are made while the update runs (closures). */
    void (*apply)(struct kitsune_xf *, const struct kitsune_type *, const void *in, void *out);
    /* The allocator of its own that objects come from: a new block of so many bytes (NULL: there is
     * none), and what takes an old one back after the commit. NULL: malloc and free. */
    void *(*allocate)(uint64_t size_bytes);
    void (*release)(void *object);
};

/* A variable of the new version and where its value comes from. */
#define KITSUNE_MIGRATION_AUTO 0x1u    /* kitsune_do_automigrate moves it */
#define KITSUNE_MIGRATION_ADDRESS 0x2u /* never moved; pointers to the old one are redirected */
/* Leads to objects of an allocator of its own: migrated after all others, whose state that is. */
#define KITSUNE_MIGRATION_LATE 0x4u
struct kitsune_migration {
    const char *new_key;             /* NULL: dropped; pointers to the old one are an error */
    const char *old_key;             /* NULL: made afresh (INIT) */
    const struct kitsune_type *type; /* sizes and parts of the pair; NULL for INIT */
    /* Moves the value; `in` is NULL for INIT. Returns non-zero if a value was migrated. NULL: the
     * bytes are copied (sizes are equal then and nothing in them needs a visit). */
    int (*migrate)(struct kitsune_xf *, const void *in, void *out);
    uint32_t flags;
    uint32_t reserved;
};

/* An old function and what replaces it where a pointer to it is found. Functions that are not in the
 * list go to the new version's registered function of the same key. */
struct kitsune_function_pair {
    const char *old_key;
    const void *new_function;
    const char *new_key; /* without new_function: the registered one; NULL: a pointer is an error */
};

/* What leads from the parent to this release. NULL in a first release. */
struct kitsune_plan {
    uint32_t abi, size;
    uint64_t old_layout_digest; /* must equal kitsune_release.layout_digest of the running one */
    const struct kitsune_migration *migrations;
    uint32_t migration_count;
    uint32_t flags;
    const struct kitsune_function_pair *functions;
    uint32_t function_count;
    uint32_t rename_count;
    const char *const (*update_point_renames)[2]; /* {old name, new name} */
    void (*prestart)(void);                       /* _kitsune_prestart_xform or NULL */
    void (*mainupdate)(void);                     /* _kitsune_mainupdate_xform or NULL */
};
/* In `flags`: at least one changed type may be pointed into (engine's first pass is needed). */
#define KITSUNE_PLAN_DISCOVER 0x1u
/* In `flags`: no type gets new objects (nothing moves). */
#define KITSUNE_PLAN_NOTHING_MOVES 0x2u
/* In `flags`: addresses of the old image are looked for in the heap and in what was migrated; the
 * transformers do not visit what stays as it is for their sake. */
#define KITSUNE_PLAN_SEEK 0x4u

/* ---- release and launcher ------------------------------------------------------------------ */

struct kitsune_launcher;

/* How a thread goes on in the new version (ktthreads.h); the language's own name. */
#ifndef KITSUNE__THREAD_INFO
#define KITSUNE__THREAD_INFO
union pthread_attr_t;
typedef struct ktthread_info {
    void *arg;
    void *(*start_fun)(void *);
    const char *update_pt;
    union pthread_attr_t *attr; /* that it was created with; NULL: none */
} ktthread_info;
#endif

/* Page-aligned, page-sized, in the release. The launcher maps a page that it shares with its helper
 * process over it, so that `pending` can be set from outside with no signal. */
struct kitsune_gate {
    uint32_t pending; /* read relaxed at each update point; non-zero: take the slow path */
    uint32_t reserved;
};

/* What can be checked of a release without loading it: lies alone in the section
 * "kitsune_identity", position-independent, fixed size. */
struct kitsune_identity {
    uint64_t magic;
    uint32_t abi, size;
    char program[64];
    char version[64];
    uint32_t parent_count; /* accepted parents; 0 in a first release */
    /* CRC-32 (that of zlib) of the whole file with this field as 0, written when the release is linked.
     * It finds damage; against malice there are signatures. */
    uint32_t checksum;
    uint8_t parents[16][KITSUNE_BUILD_ID_SIZE]; /* build-ids */
    /* The build-id of the release whose program this one is too, with another way into it: what
     * follows that one follows this one. Zeroes: of none, it is a version's own release. */
    uint8_t stands_for[KITSUNE_BUILD_ID_SIZE];
    uint8_t padding[4];
};
#define KITSUNE_IDENTITY_SECTION "kitsune_identity"

/* The one exported symbol of a release: `const struct kitsune_release kitsune_release`. */
struct kitsune_release {
    uint32_t abi, size;
    const struct kitsune_identity *identity;
    uint64_t layout_digest; /* over the program's types and variables */
    int (*main)(int, char **, char **);
    const struct kitsune_symbol *symbols, *symbols_end;
    const struct kitsune_plan *plan;
    struct kitsune_registered *const *registered; /* the head of a list that grows in front */
    struct kitsune_gate *gate;
    /* Where the launcher puts its table before it calls anything in the release. */
    const struct kitsune_launcher **launcher;
    const uint8_t *image_start, *image_end; /* __ehdr_start .. _end */
    /* The new key that the program itself (transform_register_renaming) gave an old one; NULL: none. */
    char *(*renamed)(const char *old_key);
};

/* The launcher's functions, for releases: the C API (runtime/src/release.c calls them), generated
 * code and wrapped calls. All run in the thread that called them; those of the engine may not return
 * (they unwind to the old version by the transaction's abort). */
struct kitsune_launcher {
    uint32_t abi, size;

    /* -- the program's API (language.md section 2); `site` is the release that calls -- */
    void (*update)(const struct kitsune_release *site, const char *name);
    int (*is_updating)(const struct kitsune_release *site);
    int (*is_updating_from)(const struct kitsune_release *site, const char *name);
    int (*has_updated)(void);
    int (*update_requested)(void);
    void (*signal_update)(void);
    void (*set_next_version)(char *path); /* takes the malloc'ed string */
    void (*clear_request)(void);
    void (*do_automigrate)(const struct kitsune_release *site);
    /* Migrates the variable of this key; `address` is the new variable. Non-zero: migrated. */
    int (*migrate)(const struct kitsune_release *site, const char *key, void *address);
    void *(*lookup_key)(int new_version, const char *key); /* NULL if there is none */
    const char *(*lookup_address)(int new_version, const void *address);
    void (*log)(const char *format, va_list arguments);
    /* Threads. The next three: in a hook, of the threads that are to go on. */
    void (*threads_reset)(void);
    struct ktthread_info *(*threads_next)(void); /* NULL: that was the last */
    void (*thread_remove)(void);                 /* the one last given */
    int (*thread_add)(const struct ktthread_info *info);
    /* `callback` wakes the calling thread when all are to come to their update points. */
    void (*thread_callback)(void (*callback)(void *), void *argument);

    /* Puts a frame in front of the calling thread's list. */
    void (*enter)(struct kitsune_frame *);

    /* -- the engine, for generated code and rules; only during an update -- */
    /* Each takes an old pointer and returns the new one; NULL gives NULL. */
    void *(*object)(struct kitsune_xf *, const void *old, const struct kitsune_type *);
    void *(*objects)(struct kitsune_xf *, const void *old, uint64_t count,
                     const struct kitsune_type *);
    /* Array ended by an element of zero bytes, which is moved too. */
    void *(*objects_terminated)(struct kitsune_xf *, const void *old, const struct kitsune_type *);
    /* A pointer to something that needs no visit: kept, unless it points into the old image (then to
     * the namesake, or an interned copy of the text at it). `size` in bytes; 0: zero-terminated. */
    void *(*plain)(struct kitsune_xf *, const void *old, uint64_t size);
    /* A function pointer. */
    void *(*function)(struct kitsune_xf *, const void *old);
    /* A `void *` that nothing explains: image addresses and addresses of objects already met are
     * translated, everything else is kept. */
    void *(*word)(struct kitsune_xf *, const void *old);
    /* In-place transformers change a pointer through this: done when the migration ends. */
    void (*store)(struct kitsune_xf *, void *where, void *value);
    /* Finishes all objects met so far, so that a rule may read the new ones. */
    void (*settle)(struct kitsune_xf *);
    /* Gives the update up; the reason is told to whoever asked. Does not return. */
    void (*fail)(struct kitsune_xf *, const char *format, ...);
    /* The engine of the running update, NULL if there is none. */
    struct kitsune_xf *(*engine)(void);
    /* Memory of the program's allocator, or the update fails. */
    void *(*allocate)(struct kitsune_xf *, uint64_t size_bytes, uint32_t align);
    /* Zeroed memory of the engine's own that lasts as long as the update, or the update fails. */
    void *(*scratch)(struct kitsune_xf *, uint64_t size_bytes);

    /* -- wrapped calls (runtime/src/wrap.c in the release); one entry per call -- */
    const struct kitsune_calls *calls;
};

#endif
