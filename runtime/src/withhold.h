/*
 * In a copy of the process that rehearses an update: system calls that would act on the world, or on what
 * the copy shares with the program, become something harmless. A seccomp filter catches them
 * wherever they are made, in libraries too; the handler of SIGSYS decides what becomes of each.
 *
 * Invariants:
 *  - Nothing is written to, read from or changed on a file that the program has open, nor on a socket whose
 *    other end is outside. What is opened for writing is a copy in memory.
 *  - The process and thread ids that the copy sees are the program's.
 *  - Children of the copy have the filter without its handler: they end at the first such call.
 *  - The runtime's own calls, made by kitsune__syscall, pass.
 *
 * Context: the copy's only kernel thread, or one that the new version made; the handler is
 * async-signal-safe.
 */
#ifndef KITSUNE_WITHHOLD_H
#define KITSUNE_WITHHOLD_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Which file it is, as fstat tells it. */
struct kitsune__file_id {
    uint64_t device, inode;
};

/* What is told of a socket for which another stands in: of the options KITSUNE__SOCKET_FACTS, and its own and
 * its peer's name (length 0: it has none). */
#define KITSUNE__SOCKET_FACTS {SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN}
struct kitsune__stand_in {
    uint64_t inode; /* of the one that stands in */
    int facts[4];
    uint32_t lengths[2];
    char names[2][128];
};

/* What the program has open too: files sorted by device and inode, stand-ins sorted by inode. */
struct kitsune__shared {
    uint32_t file_count, stand_in_count;
    const struct kitsune__file_id *files;
    const struct kitsune__stand_in *stand_ins;
};

/* From here on calls are withheld. `program` is the process that the caller is a copy of, `parent` that
 * one's. What `shared` points to stays the caller's. Returns 0, or a negative errno: then nothing is
 * withheld. */
int kitsune__withhold(pid_t program, pid_t parent, const struct kitsune__shared *shared);

/* In the handler of SIGSYS: non-zero if it was a call that is withheld; then the interrupted code goes
 * on with its result. */
int kitsune__withhold_trap(const void *info, void *ucontext);

/* The copy's thread stands for this one of the program's; 0: the main one. */
void kitsune__withhold_as(pid_t tid);

/* "3 writes, 1 file opened for writing"; "" if nothing was withheld. Returns the length. */
size_t kitsune__withhold_tell(char *text, size_t size);

#endif
