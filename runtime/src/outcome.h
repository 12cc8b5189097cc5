/*
 * What can become of an update: one list gives code, name and text. Python reads this file too
 * (kitsune_tool/control.py shows the code), so each entry stays on a line of its own.
 *
 * KITSUNE_OUTCOMES(X): X(name, number, text); the number is that of the error code (K3nn).
 */
#ifndef KITSUNE_OUTCOME_H
#define KITSUNE_OUTCOME_H

#include <stdint.h>

#include "trace.h"

/* clang-format off */
#define KITSUNE_OUTCOMES(X) \
    X(NO_FILE,            340, "the release cannot be read") \
    X(NOT_A_RELEASE,      341, "the file is no Kitsune release") \
    X(ABI_OLDER,          342, "the release was built by an older Kitsune than the one that runs it") \
    X(ABI_NEWER,          343, "the release was built by a newer Kitsune than the one that runs it") \
    X(WRONG_PROGRAM,      344, "the release is of another program") \
    X(WRONG_PARENT,       345, "the release is no child of the running version") \
    X(WRONG_LAYOUT,       346, "the running version's types are not those that the release was built against") \
    X(NO_PLAN,            347, "the release is a first release, nothing leads to it") \
    X(LOAD_FAILED,        348, "the release cannot be loaded") \
    X(THREADS,            349, "a library has started threads") \
    X(BUSY,               350, "another update is under way") \
    X(NO_MEMORY,          351, "no memory for the update") \
    X(NO_SNAPSHOT,        352, "no snapshot of the process can be taken") \
    X(TRANSFORM_FAILED,   353, "the state cannot be transformed") \
    X(CRASHED,            354, "the new version crashed") \
    X(STACK_OVERFLOW,     355, "the new version overflowed its stack") \
    X(TIME_LIMIT,         356, "the new version did not reach its update point in time") \
    X(EXITED,             357, "the new version ended the process before its update point") \
    X(RETURNED,           358, "the new version's main returned before its update point") \
    X(REFUSED_CALL,       359, "the new version made a call that cannot be undone before its update point") \
    /* of control: before the program is touched, or without it (request.c, helper.c) */ \
    X(UNSAFE_FILE,        360, "the release's file is not safe to load") \
    X(NOT_REACHED,        361, "the program did not reach an update point in time") \
    X(WITHDRAWN,          362, "the request was withdrawn") \
    X(PROGRAM_ENDED,      363, "the program ended during the update") \
    X(BAD_REQUEST,        364, "the request cannot be understood") \
    X(NOT_PERMITTED,      365, "only root and the user that started the program may ask") \
    X(HELPER_FAILED,      366, "the helper process cannot serve the request") \
    X(PLUGIN,             367, "a plugin uses what the new version does not have") \
    X(NOT_IN_TREE,        368, "the process has no place in the tree of its program") \
    X(TREE_UNDONE,        369, "another process of the tree was not updated") \
    X(TREE_INCOMPLETE,    370, "the tree has processes that cannot be updated") \
    X(FILTERED,           371, "a filter of the program's system calls could end it during the update") \
    /* of a rehearsal (rehearsal.c, helper.c) */ \
    X(NOT_ISOLATED,       372, "an update cannot be rehearsed in this process") \
    X(COPY_ENDED,         373, "the copy of the process that rehearsed the update ended") \
    /* of trust, as it was asked for when the program was started (trust.c, signature.c) */ \
    X(NO_KEY,             306, "the public key cannot be used") \
    X(NO_SODIUM,          307, "libsodium is not installed") \
    X(UNSIGNED,           383, "the release is not signed") \
    X(WRONG_SIGNATURE,    384, "the signature is not of this release") \
    X(OTHER_KEY,          385, "the release is signed by a key that is not trusted") \
    X(NO_SIGNATURE,       386, "the signature cannot be read") \
    X(REVOKED,            387, "the release is revoked") \
    X(NO_REVOCATIONS,     388, "the list of revoked releases cannot be trusted")
/* clang-format on */

enum kitsune__code {
    KITSUNE__COMMITTED = 0,
#define KITSUNE__OUTCOME_ENUM(name, number, text) KITSUNE__##name = number,
    KITSUNE_OUTCOMES(KITSUNE__OUTCOME_ENUM)
#undef KITSUNE__OUTCOME_ENUM
};

#define KITSUNE__REASON_SIZE 1024

#define KITSUNE__NOTES_SIZE 512

/*
 * The end of one transaction. Filled by the journal, also while it rolls back: it lies in memory that
 * no rollback touches. `reason` is English without a final full stop and names the cause ("SIGSEGV
 * at address 0x10 in main+0x1f").
 */
struct kitsune__verdict {
    uint32_t code; /* enum kitsune__code; 0: committed */
    uint32_t snapshot_taken;
    char reason[KITSUNE__REASON_SIZE]; /* "" when committed */
    char notes[KITSUNE__NOTES_SIZE];   /* what was not undone; parts separated by "; ", or "" */
    uint64_t snapshot_ns, load_ns, main_ns, rollback_ns, total_ns;
    uint64_t restored_pages; /* by a rollback */
    uint64_t objects, bytes; /* transformed */
    /* After a crash: the file that the faulting code was mapped from, and the place in it. */
    char fault_path[192];
    uint64_t fault_offset;
    uint32_t fault_is_below; /* non-zero: the place is a caller's; the fault was in a library */
    /* The place and those that it was called from, the innermost first, and what each calls there (0:
     * not known): the distance from the place. */
    uint32_t frame_count;
    int64_t frames[KITSUNE__FRAMES], calls[KITSUNE__FRAMES];
};

/* The general text of a code; for an unknown one "unknown". */
const char *kitsune__outcome_text(uint32_t code);

/* What is wrong with a file or a request. */
struct kitsune__problem {
    uint32_t code; /* enum kitsune__code */
    char text[640];
};

/* Fills the problem and returns -1. Uses nothing of libc. */
int kitsune__refuse(struct kitsune__problem *problem, enum kitsune__code code, const char *format,
                    ...) __attribute__((format(printf, 3, 4)));

#endif
