/*
 * What the modules of the helper process share. It is one process with one thread, in which nothing of the
 * program is left: a copy of it that gave back all memory and descriptors, with all signals blocked. So it
 * uses no allocator, no stdio, no locale and no lock of libc. See helper.c, where it starts and waits.
 */
#ifndef KITSUNE_HELPER_H
#define KITSUNE_HELPER_H

#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "answer.h"
#include "control.h"
#include "request.h"
#include "tree.h"

#define SECOND 1000000000ull
#define MAX_CLIENTS 16
#define LINE_LIMIT 65536 /* bytes of a request, without its end */
#define FIRST_KICK_NS 200000ull
#define ORPHAN_NS 10000000ull /* how often it is looked whether a process lives */
#define FORKING_LIMIT_NS SECOND
#define FILTERED_REASON                                                                            \
    "the program has set a filter of its system calls (seccomp): those of an update could end "    \
    "it; "                                                                                         \
    "start it with KITSUNE_SECCOMP=allow if its filter lets them pass"

struct client {
    int fd;         /* -1: free */
    int closing;    /* no further request; closed when it has no update under way */
    int is_waiting; /* for its update */
    uint64_t until;
    size_t used;
    char line[LINE_LIMIT + 1];
};

/* How far a process is in a round. */
enum step { ALONE = 0, CHECKED, ASKED, READY, OVER };

/* The update that a process has under way. */
struct flight {
    struct kitsune__control *control; /* NULL: none under way */
    int client;                       /* index */
    int copy;
    int fetcher; /* where the process asks for the copy, in a namespace of networks of its own; else -1 */
    int32_t owner;
    uint64_t serial, started, until, next_kick, kick_wait, next_look;
    uint64_t wait_ms;
    uint64_t look_until;
    int told_rehearsing;
    /* Of a round. */
    enum step step;
    unsigned depth;
    uint32_t forks; /* that it had begun when its children were looked for */
    uint64_t first_asked;
    const char *word; /* its outcome, when it is OVER */
    uint32_t code;    /* why not, if it is the helper's to say */
};

/* The update of all processes of the tree, all or none. */
struct round {
    int client; /* index; -1: none under way */
    int copy;   /* -1: none yet */
    const void *bytes;
    size_t size; /* of the copy */
    uint32_t number;
    int children_first;
    int32_t culprit; /* because of which it is undone; 0: none */
    int is_decided;
    const char *word;
    uint32_t code;
    char reason[2048];
    char path[PATH_MAX];
    struct kitsune__limits limits;
    uint64_t wait_ms, started;
    uint64_t forking_since; /* a fork under way is waited for; else 0 */
    struct kitsune__running release;
};

struct helper {
    struct kitsune__tree *tree;
    struct kitsune__control *speaker; /* the process that the socket is named after */
    int listener, fetcher, directory, speaker_fd;
    char fetch_name[48]; /* as the tree has it, where others could change it */
    uid_t user;
    char socket_name[24];
    ino_t socket_inode;
    uint64_t note_until;   /* 0: points that are passed are not noted */
    int32_t root;          /* as which it was started: its parent */
    int32_t adopted;       /* by whom the tree was taken over before */
    uint64_t orphan_since; /* the root has ended, and an heir is looked for; else 0 */
    uint64_t child_seen;   /* the last time that it had a child since then, or orphan_since */
    uint32_t flight_count;
    struct flight flights[KITSUNE__PLACES]; /* by place */
    struct round round;
    struct client clients[MAX_CLIENTS];
    struct kitsune__answer answer; /* that is being written */
};

/* What the client wants. */
struct wish {
    const char *path;
    struct kitsune__limits limits;
    uint64_t wait_ms;
    struct kitsune__control *control; /* of whom */
    uint32_t round;
    int is_rehearsal;
};

/* ---- Answers to clients (helper.c). */

/* The process and the two versions' names, at the end of every answer about an update. */
void kitsune__helper_put_versions(struct helper *helper, const struct kitsune__control *control,
                                  const struct kitsune__running *from);
/* Sends the answer; a client that does not read its answers loses the connection, never our time. */
void kitsune__helper_send(struct helper *helper, int index);
/* The last answer to a request that came to nothing. */
void kitsune__helper_refuse(struct helper *helper, int index,
                            const struct kitsune__control *control, const char *outcome,
                            uint32_t code, const char *reason);
/* An answer before the last. */
void kitsune__helper_tell_progress(struct helper *helper, int index,
                                   const struct kitsune__control *control, const char *event);

/* ---- What the kernel and the shared memory tell of a process (helper_status.c). */

/* Reads the start of /proc/PID/NAME, zero-terminated; "" if that is not allowed. */
void kitsune__helper_read_proc(int32_t pid, const char *name, char *text, size_t size);
/* The letter of /proc/PID/stat; 0 if there is no such process. */
char kitsune__helper_process_state(int32_t pid);
/* Of a hexadecimal digit; -1 if it is none. */
int kitsune__helper_digit_value(char digit);
/* Filters of system calls that a process has. */
uint32_t kitsune__helper_count_filters(int32_t pid);
/* Whether it has set one since its start, and has not said that an update may pass. */
int kitsune__helper_is_filtered(struct helper *helper, const struct kitsune__control *control);
/* Where it is, in a few words, for a reason; returns the length. */
size_t kitsune__helper_describe(int32_t pid, char *text, size_t size);
/* By compare and swap: non-zero if it was so. */
int kitsune__helper_move_state(struct kitsune__control *control, uint32_t from, uint32_t to);
/* Puts a request that the process never saw into its history. */
void kitsune__helper_note_unheard(struct kitsune__control *control, uint32_t code,
                                  const char *reason);
/* Update points are noted for some time after a question (answer_status). */
void kitsune__helper_stop_noting(struct kitsune__control *control);
void kitsune__helper_end_noting(struct helper *helper);
void kitsune__helper_answer_status(struct helper *helper, int index,
                                   struct kitsune__control *control);
/* What the process reported of its failure, as members of the answer. */
void kitsune__helper_put_report(struct helper *helper, const struct kitsune__control *control);

/* ---- How a process gets the copy (helper_fetch.c). */

/* Listens at a name that nobody can guess; see fetch_copy of request.c. Returns -1 if that is not possible. */
int kitsune__helper_listen_for_fetch(struct helper *helper);
/* The process is about to be asked: it can get the copy from now on, also where it has other networks. */
void kitsune__helper_reach(struct helper *helper, struct flight *flight);
void kitsune__helper_forget_fetcher(struct flight *flight);
/* Adds what is to be polled for; returns the number. */
unsigned kitsune__helper_poll_fetchers(const struct helper *helper, struct pollfd *fds);
/* Gives the copy to whoever has asked. */
void kitsune__helper_serve_fetches(struct helper *helper);

/* ---- The update of one process (helper_update.c). */

/* Ends the request here if the process has not taken it: non-zero. */
int kitsune__helper_withdraw(struct kitsune__control *control, uint32_t code, const char *reason);
void kitsune__helper_kick(int32_t pid);
/* Sets the gate again too: the program may have cleared it on behalf of a request before this one. */
void kitsune__helper_kick_again(struct flight *flight, uint64_t now);
const char *kitsune__helper_outcome_word(const struct kitsune__outcome *outcome);
/* Kills the copy, and leaves the request in this state: non-zero if there was a rehearsal. */
int kitsune__helper_end_rehearsal(struct kitsune__control *control, uint32_t state);
/* The process is gone: whoever waits is told. */
void kitsune__helper_fail_flight(struct helper *helper, struct flight *flight);
/* Whether the process is gone; its place may be another's then. */
int kitsune__helper_has_ended(struct flight *flight, uint64_t now);
/* Looks how far all are that are no part of a round. */
void kitsune__helper_follow_flights(struct helper *helper);
/* An outcome that a helper before this one waited for: nobody does. */
void kitsune__helper_drop_outcome(struct kitsune__control *control);
/* The process takes no other request from here on: non-zero. */
int kitsune__helper_claim_request(struct kitsune__control *control, const struct wish *wish);
/* Else the client is told. */
int kitsune__helper_has_good_path(struct helper *helper, int index, const struct wish *wish);
void kitsune__helper_start_update(struct helper *helper, int index, const struct wish *wish);

/* ---- The update of all processes of the tree (helper_round.c). */

/* NULL if it has none. */
struct kitsune__control *kitsune__helper_place_of(struct helper *helper, int32_t pid);
/* Looks how far it is; called often while there is one. */
void kitsune__helper_follow_round(struct helper *helper);
void kitsune__helper_start_round(struct helper *helper, int index, const struct wish *wish,
                                 int children_first);

#endif
