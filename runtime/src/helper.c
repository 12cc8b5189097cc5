/*
 * The helper process of a tree: holds the control socket, checks releases, kicks the program or a child of
 * it, and tells what came of it. See request.h, control.h and tree.h.
 *
 * It is a copy of the program, made at any moment of it: so it uses no allocator, no stdio, no locale
 * and no lock of libc, gives all memory and descriptors of the program back first, and has all signals
 * blocked. It ends when the program has ended and all its children have; if they live on, it speaks for
 * them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "control.h"
#include "platform.h"
#include "sanitizer.h"
#include "stuck.h"
#include "tree.h"

#define MAX_CLIENTS 16
#define THREADS_SHOWN 64
#define NOTE_NS (SECOND / 5) /* how long update points tell that they are passed, after a status */
#define LINE_LIMIT 65536     /* bytes of a request, without its end */
#define ANSWER_LIMIT 524288
#define MAX_WORDS 5
#define CLIENT_LIMIT_NS (10 * SECOND)
#define SECOND 1000000000ull
#define FIRST_KICK_NS 200000ull
#define LAST_KICK_NS 20000000ull
/* How long a call that can only be ended by EINTR is given to end by itself. */
#define INTERRUPT_NS 50000000ull
/* How long a program that does not come may take to say where it is. */
#define LOOK_LIMIT_NS (SECOND / 5)
/* How much longer than its time limit a rehearsal may take, before its copy is killed. */
#define REHEARSAL_MARGIN_NS (10 * SECOND)
#define REHEARSAL_LIMIT_MS 60000u /* as the program's own for a transaction */
#define LOOK_NS 1000000ull        /* how often a running transaction is looked at */
#define ORPHAN_NS 10000000ull     /* how often children of a program that ended are looked at */
#define ORPHAN_LIMIT_NS (30 * SECOND)
#define FORKING_LIMIT_NS SECOND
#define ABSENT_PIDFD_NS (SECOND / 2)
#define STACK_BELOW 262144u
#define STACK_ABOVE 16384u

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
    int32_t owner;
    uint64_t serial, started, until, next_kick, kick_wait, next_look;
    uint64_t wait_ms;
    uint64_t look_until;
    int told_rehearsing;
    /* Of a round. */
    enum step step;
    unsigned depth;
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
    uint64_t wait_ms, started, stable_since;
    struct kitsune__running release;
};

struct helper {
    struct kitsune__tree *tree;
    struct kitsune__control *speaker; /* the process that the socket is named after */
    int listener, fetcher, directory, speaker_fd;
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
    size_t used; /* of `answer` */
    char answer[ANSWER_LIMIT];
};

static void end(void) __attribute__((noreturn));

static void end(void) {
    for (;;)
        kitsune__syscall(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

/* ---- answers ------------------------------------------------------------------------------- */

/* What does not fit is cut off; the last byte is kept for the end of line. */
static void put(struct helper *helper, const char *text, size_t length) {
    size_t room = sizeof helper->answer - 1 - helper->used;

    if (length > room)
        length = room;
    memcpy(helper->answer + helper->used, text, length);
    helper->used += length;
}

static void put_text(struct helper *helper, const char *text) {
    put(helper, text, strlen(text));
}

/* Length of the well-formed UTF-8 sequence of several bytes at `text`, or 0. */
static size_t sequence_length(const unsigned char *text, size_t left) {
    size_t length = text[0] >= 0xf0 ? 4 : text[0] >= 0xe0 ? 3 : 2;

    if (text[0] < 0xc2 || text[0] > 0xf4 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

static void put_escape(struct helper *helper, unsigned code) {
    static const char digits[] = "0123456789abcdef";
    char text[6] = {'\\',
                    'u',
                    digits[code >> 12 & 15],
                    digits[code >> 8 & 15],
                    digits[code >> 4 & 15],
                    digits[code & 15]};

    put(helper, text, sizeof text);
}

/* A JSON string. Bytes that are no UTF-8 become U+DC80 and up, as Python's surrogateescape has them. */
static void put_string(struct helper *helper, const char *text, size_t limit) {
    size_t left = strnlen(text, limit);
    const unsigned char *at = (const unsigned char *)text;

    put(helper, "\"", 1);
    while (left) {
        size_t length = *at < 0x80 ? 1 : sequence_length(at, left);

        if (*at < 0x20 || *at == 0x7f || *at == '"' || *at == '\\')
            put_escape(helper, *at);
        else if (length == 0)
            put_escape(helper, 0xdc00u + *at);
        else
            put(helper, (const char *)at, length);
        length += length == 0;
        at += length;
        left -= length;
    }
    put(helper, "\"", 1);
}

static void put_name(struct helper *helper, const char *name) {
    put_text(helper, helper->answer[helper->used - 1] == '{' ? "\"" : ", \"");
    put_text(helper, name);
    put_text(helper, "\": ");
}

static void member_text(struct helper *helper, const char *name, const char *text, size_t limit) {
    put_name(helper, name);
    put_string(helper, text, limit);
}

#define MEMBER_ARRAY(helper, name, array) member_text(helper, name, array, sizeof(array))

static void member_number(struct helper *helper, const char *name, uint64_t number) {
    char digits[24];

    kitsune__format(digits, sizeof digits, "%lu", (unsigned long)number);
    put_name(helper, name);
    put_text(helper, digits);
}

static void member_code(struct helper *helper, uint32_t code) {
    char text[16];

    kitsune__format(text, sizeof text, "K%u", code);
    member_text(helper, "code", text, sizeof text);
}

static void member_hex(struct helper *helper, const char *name, const uint8_t *bytes, size_t size) {
    static const char digits[] = "0123456789abcdef";

    put_name(helper, name);
    put(helper, "\"", 1);
    for (size_t i = 0; i < size; i++)
        put(helper, (char[]){digits[bytes[i] >> 4], digits[bytes[i] & 15]}, 2);
    put(helper, "\"", 1);
}

static void begin(struct helper *helper, const char *event) {
    helper->used = 0;
    put_text(helper, "{");
    member_text(helper, "event", event, 64);
}

/* The process and the two versions' names, at the end of every answer about an update. */
static void member_versions(struct helper *helper, const struct kitsune__control *control,
                            const struct kitsune__running *from) {
    member_number(helper, "pid", (uint64_t)control->owner);
    MEMBER_ARRAY(helper, "program", from->program);
    MEMBER_ARRAY(helper, "from", from->version);
    MEMBER_ARRAY(helper, "to", control->release.version);
}

static void drop_client(struct helper *helper, int index) {
    close(helper->clients[index].fd);
    helper->clients[index].fd = -1;
}

/* Sends the answer; a client that does not read its answers loses the connection, never our time. */
static void send_answer(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];

    put_text(helper, "}");
    helper->answer[helper->used++] = '\n';
    if (client->fd >= 0 && send(client->fd, helper->answer, helper->used,
                                MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)helper->used)
        client->closing = 1;
    client->until = kitsune__now_ns() + CLIENT_LIMIT_NS;
}

static void answer_problem(struct helper *helper, int index, const struct kitsune__control *control,
                           const char *outcome, uint32_t code, const char *reason) {
    begin(helper, "done");
    member_text(helper, "outcome", outcome, 64);
    member_code(helper, code);
    member_text(helper, "reason", reason, 4096);
    member_versions(helper, control, &control->running);
    send_answer(helper, index);
}

static void answer_progress(struct helper *helper, int index,
                            const struct kitsune__control *control, const char *event) {
    begin(helper, event);
    member_versions(helper, control, &control->running);
    send_answer(helper, index);
}

/* ---- what the program is doing ------------------------------------------------------------- */

/* Reads the start of /proc/WHOSE/NAME, zero-terminated; "" if that is not allowed. */
static void read_proc_of(const char *whose, const char *name, char *text, size_t size) {
    char path[64];
    ssize_t got = -1;
    int file;

    kitsune__format(path, sizeof path, "/proc/%s/%s", whose, name);
    file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        got = read(file, text, size - 1);
        close(file);
    }
    text[got > 0 ? got : 0] = '\0';
}

static void read_proc(int32_t pid, const char *name, char *text, size_t size) {
    char whose[16];

    kitsune__format(whose, sizeof whose, "%d", pid);
    read_proc_of(whose, name, text, size);
}

/* The state's letter of /proc/WHOSE/stat; 0 if there is no such process or thread. */
static char process_state_of(const char *whose) {
    char text[512], *at;

    read_proc_of(whose, "stat", text, sizeof text);
    at = strrchr(text, ')'); /* the name before it may hold anything */
    return at && at[1] == ' ' ? at[2] : 0;
}

static char process_state(int32_t pid) {
    char whose[16];

    kitsune__format(whose, sizeof whose, "%d", pid);
    return process_state_of(whose);
}

static const char *state_name(char state) {
    switch (state) {
    case 'R':
        return "running";
    case 'S':
        return "sleeping";
    case 'D':
        return "waiting for a device";
    case 'T':
        return "stopped";
    case 't':
        return "stopped by a debugger";
    case 'Z':
        return "ended";
    default:
        return "in an unknown state";
    }
}

static const char *call_name(long number) {
    static const struct {
        long number;
        const char *name;
    } names[] = {
        {SYS_read, "read"},
        {SYS_write, "write"},
        {SYS_readv, "readv"},
        {SYS_accept, "accept"},
        {SYS_accept4, "accept"},
        {SYS_connect, "connect"},
        {SYS_recvfrom, "recv"},
        {SYS_recvmsg, "recvmsg"},
        {SYS_sendto, "send"},
        {SYS_sendmsg, "sendmsg"},
        {SYS_sendfile, "sendfile"},
        {SYS_wait4, "wait"},
        {SYS_waitid, "waitid"},
        {SYS_nanosleep, "nanosleep"},
        {SYS_clock_nanosleep, "sleep"},
        {SYS_futex, "a lock or a wait for another thread"},
        {SYS_rt_sigsuspend, "sigsuspend"},
        {SYS_rt_sigtimedwait, "sigwait"},
        {SYS_flock, "flock"},
        {SYS_fcntl, "fcntl"},
        {SYS_openat, "open"},
        {SYS_fsync, "fsync"},
        {SYS_ppoll, "ppoll"},
        {SYS_pselect6, "select"},
        {SYS_epoll_pwait, "epoll_wait"},
#ifdef SYS_poll
        {SYS_poll, "poll"},
        {SYS_select, "select"},
        {SYS_epoll_wait, "epoll_wait"},
        {SYS_pause, "pause"},
#endif
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].number == number)
            return names[i].name;
    return NULL;
}

static uint64_t number_of(const char *text) {
    uint64_t number = 0;

    for (; *text >= '0' && *text <= '9' && number < UINT32_MAX; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

/* The system call that the process or thread is in, or NULL if it is in none, or that may not be known. */
static const char *blocking_call_of(const char *whose) {
    char text[128];

    if (kitsune__emulated()) /* they would be those of the emulator's machine */
        return NULL;
    read_proc_of(whose, "syscall", text, sizeof text);
    return text[0] < '0' || text[0] > '9' ? NULL : call_name((long)number_of(text));
}

static const char *blocking_call(int32_t pid) {
    char whose[16];

    kitsune__format(whose, sizeof whose, "%d", pid);
    return blocking_call_of(whose);
}

static int digit_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* How many filters of system calls the process has; UINT32_MAX for the strict mode. */
static uint32_t count_filters(int32_t pid) {
    char text[4096];
    uint32_t mode;

    read_proc(pid, "status", text, sizeof text);
    mode = (uint32_t)kitsune__number_behind(text, "Seccomp:", 0);
    return mode == 1 ? UINT32_MAX
                     : (uint32_t)kitsune__number_behind(text, "Seccomp_filters:", mode);
}

/* Nobody can ask the kernel what a filter lets pass, and a call that it does not may end the process: so
 * the process is not even kicked. */
static int is_filtered(struct helper *helper, const struct kitsune__control *control) {
    uint32_t filters = count_filters(control->owner);

    return filters == UINT32_MAX ||
           (filters > helper->tree->filters && !helper->tree->may_be_filtered);
}

#define FILTERED_REASON                                                                            \
    "the program has set a filter of its system calls (seccomp): those of an update could end "    \
    "it; "                                                                                         \
    "start it with KITSUNE_SECCOMP=allow if its filter lets them pass"

static int blocks_kick(int32_t pid) {
    char text[4096], *at;
    uint64_t mask = 0;

    read_proc(pid, "status", text, sizeof text);
    at = strstr(text, "SigBlk:\t");
    if (!at)
        return 0;
    for (at += 8; digit_value(*at) >= 0; at++)
        mask = mask << 4 | (uint64_t)digit_value(*at);
    return mask >> (SIGURG - 1) & 1;
}

/* "it is sleeping in read, ...": returns the length. */
static size_t describe(int32_t pid, char *text, size_t size) {
    char wchan[64];
    const char *call = blocking_call(pid);
    size_t used = kitsune__format(text, size, "it is %s", state_name(process_state(pid)));

    read_proc(pid, "wchan", wchan, sizeof wchan);
    if (call)
        used += kitsune__format(text + used, size - used, " in %s", call);
    if (wchan[0] && wchan[0] != '0')
        used += kitsune__format(text + used, size - used, " (kernel: %s)", wchan);
    if (blocks_kick(pid))
        used += kitsune__format(text + used, size - used, " and blocks SIGURG");
    return used;
}

/* ---- the history and the state ------------------------------------------------------------- */

static int move_state(struct kitsune__control *control, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&control->state, &from, to);
}

/* Remembers a request that ended without the program. For the holder of the request. */
static void note_unheard(struct kitsune__control *control, uint32_t code, const char *reason) {
    struct kitsune__outcome outcome;

    if (control->is_rehearsal)
        return;
    memset(&outcome, 0, sizeof outcome);
    kitsune__format(outcome.code, sizeof outcome.code, "K%u", code);
    kitsune__format(outcome.reason, sizeof outcome.reason, "%s", reason);
    kitsune__control_note(control, &outcome);
}

static void put_past(struct helper *helper, const struct kitsune__past *past) {
    put_text(helper, "{");
    member_number(helper, "serial", past->serial);
    member_number(helper, "at", (uint64_t)past->at);
    member_text(helper, "outcome", past->committed ? "updated" : "failed", 64);
    MEMBER_ARRAY(helper, "from", past->from);
    MEMBER_ARRAY(helper, "to", past->to);
    if (past->committed) {
        member_number(helper, "pause_ns", past->pause_ns);
        member_number(helper, "objects", past->objects);
        MEMBER_ARRAY(helper, "old_image", past->old_image);
    } else {
        member_code(helper, past->code);
        MEMBER_ARRAY(helper, "reason", past->reason);
    }
    put_text(helper, "}");
}

static void put_history(struct helper *helper, const struct kitsune__control *control) {
    uint64_t count = control->past_count;
    uint64_t first = count > KITSUNE__HISTORY ? count - KITSUNE__HISTORY : 0;

    put_name(helper, "updates");
    put_text(helper, "[");
    for (uint64_t i = first; i < count; i++) {
        if (i > first)
            put_text(helper, ", ");
        put_past(helper, &control->past[i % KITSUNE__HISTORY]);
    }
    put_text(helper, "]");
}

static const struct kitsune__seen *find_seen(const struct kitsune__control *control, int32_t tid) {
    for (unsigned i = 0; i < KITSUNE__SEEN; i++)
        if (control->seen[i].tid == tid)
            return &control->seen[i];
    return NULL;
}

static void put_thread(struct helper *helper, const struct kitsune__control *control, int32_t tid) {
    const struct kitsune__seen *seen = find_seen(control, tid);
    char path[48], name[64];
    const char *call;
    size_t length;

    kitsune__format(path, sizeof path, "%d/task/%d", control->owner, tid);
    put_text(helper, helper->answer[helper->used - 1] == '[' ? "{" : ", {");
    member_number(helper, "tid", (uint64_t)tid);
    read_proc_of(path, "comm", name, sizeof name);
    length = strnlen(name, sizeof name);
    member_text(helper, "name", name, length && name[length - 1] == '\n' ? length - 1 : length);
    member_text(helper, "state", state_name(process_state_of(path)), 64);
    call = blocking_call_of(path);
    if (call)
        member_text(helper, "call", call, 64);
    if (seen) {
        MEMBER_ARRAY(helper, "point", seen->point);
        member_number(helper, "seen", (uint64_t)seen->at);
    }
    put_text(helper, "}");
}

/* Of /proc/PID/task, in the kernel's form; those beyond the limit are only counted. */
static void put_threads(struct helper *helper, const struct kitsune__control *control) {
    struct entry {
        uint64_t inode;
        int64_t offset;
        unsigned short length;
        unsigned char type;
        char name[];
    };
    char path[32], buffer[1024] __attribute__((aligned(8)));
    uint64_t count = 0;
    long got;
    int directory;

    kitsune__format(path, sizeof path, "/proc/%d/task", control->owner);
    directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put_name(helper, "threads");
    put_text(helper, "[");
    while (directory >= 0 && (got = syscall(SYS_getdents64, directory, buffer, sizeof buffer)) > 0)
        for (long at = 0; at < got;) {
            const struct entry *entry = (const void *)(buffer + at);
            int32_t tid = entry->name[0] == '.' ? 0 : (int32_t)number_of(entry->name);

            if (tid != 0 && !kitsune__is_of_emulator(tid) && count++ < THREADS_SHOWN)
                put_thread(helper, control, tid);
            at += entry->length;
        }
    if (directory >= 0)
        close(directory);
    put_text(helper, "]");
    member_number(helper, "thread_count", count);
}

static void put_memory(struct helper *helper, const struct kitsune__control *control) {
    char text[4096];
    uint64_t old = 0;

    read_proc(control->owner, "status", text, sizeof text);
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++)
        if (memcmp(control->images[i].build_id, control->running.build_id, KITSUNE_BUILD_ID_SIZE) !=
            0)
            old += control->images[i].end - control->images[i].start;
    put_name(helper, "memory");
    put_text(helper, "{");
    member_number(helper, "resident_kb", kitsune__number_behind(text, "VmRSS:", 0));
    member_number(helper, "own_kb", kitsune__number_behind(text, "RssAnon:", 0));
    member_number(helper, "old_images_kb", old / 1024);
    put_text(helper, "}");
}

/* The next one that asks learns which points were passed meanwhile. Not of a process with a filter, which
 * would make system calls for it. */
static void have_points_noted(struct helper *helper, struct kitsune__control *control) {
    if (is_filtered(helper, control))
        return;
    __atomic_fetch_or(&kitsune__tree_gate(control)->pending, KITSUNE__PENDING_NOTE,
                      __ATOMIC_RELEASE);
    helper->note_until = kitsune__now_ns() + NOTE_NS;
}

static void stop_noting(struct kitsune__control *control) {
    if (control->owner != 0)
        __atomic_fetch_and(&kitsune__tree_gate(control)->pending, ~(uint32_t)KITSUNE__PENDING_NOTE,
                           __ATOMIC_RELEASE);
}

static void end_noting(struct helper *helper) {
    if (!helper->note_until || kitsune__now_ns() < helper->note_until)
        return;
    helper->note_until = 0;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        stop_noting(kitsune__tree_place(helper->tree, i));
}

static void put_holders(struct helper *helper, const struct kitsune__held *held) {
    put_name(helper, "first");
    put_text(helper, "[");
    for (uint64_t i = 0; i < held->words && i < KITSUNE__HOLDERS; i++) {
        const struct kitsune__holder *holder = &held->holders[i];

        put_text(helper, i ? ", {" : "{");
        member_number(helper, "at", holder->at);
        MEMBER_ARRAY(helper, "in", holder->place);
        MEMBER_ARRAY(helper, "to", holder->target);
        put_text(helper, "}");
    }
    put_text(helper, "]");
}

/* Why an image that ran before is still mapped. */
static void put_held(struct helper *helper, const struct kitsune__held *held) {
    static const char *const codes[] = {"runs", "redirected", "refused"};

    member_number(helper, "words", held->words);
    put_holders(helper, held);
    member_text(helper, "code", codes[held->code < 3 ? held->code : 0], 64);
    member_number(helper, "calls", held->calls);
}

static void put_images(struct helper *helper, const struct kitsune__control *control) {
    put_name(helper, "images");
    put_text(helper, "[");
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++) {
        const struct kitsune__mapped *image = &control->images[i];

        put_text(helper, i ? ", {" : "{");
        MEMBER_ARRAY(helper, "version", image->version);
        member_hex(helper, "build_id", image->build_id, sizeof image->build_id);
        MEMBER_ARRAY(helper, "file", image->path);
        member_number(helper, "start", image->start);
        member_number(helper, "end", image->end);
        if (image->held.is_known)
            put_held(helper, &image->held);
        put_text(helper, "}");
    }
    put_text(helper, "]");
}

static const char *state_word(const struct kitsune__control *control) {
    static const char *const states[] = {"idle",    "checking", "requested", "updating",
                                         "updated", "ready",    "rehearsing"};
    uint32_t state = control->state;

    return states[state < 7 ? state : 0];
}

static void put_child(struct helper *helper, const struct kitsune__control *control) {
    put_text(helper, "{");
    member_number(helper, "pid", (uint64_t)control->owner);
    member_number(helper, "parent", (uint64_t)control->parent);
    MEMBER_ARRAY(helper, "version", control->running.version);
    member_number(helper, "since", (uint64_t)control->running_since);
    member_text(helper, "state", state_word(control), 64);
    put_text(helper, "}");
}

/* The other processes of the tree. */
static void put_children(struct helper *helper) {
    int32_t left_out;
    uint32_t count = 0;

    put_name(helper, "children");
    put_text(helper, "[");
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if (control == helper->speaker || !kitsune__tree_owner(control))
            continue;
        put_text(helper, count++ ? ", " : "");
        put_child(helper, control);
    }
    put_text(helper, "]");
    member_number(helper, "left_out", kitsune__tree_left_out(helper->tree, &left_out));
}

static void answer_status(struct helper *helper, int index, struct kitsune__control *control) {
    begin(helper, "done");
    member_text(helper, "outcome", "status", 64);
    member_number(helper, "pid", (uint64_t)control->owner);
    member_number(helper, "helper", (uint64_t)getpid());
    member_number(helper, "uid", helper->user);
    member_number(helper, "interface", KITSUNE_ABI);
    MEMBER_ARRAY(helper, "program", control->running.program);
    MEMBER_ARRAY(helper, "version", control->running.version);
    member_hex(helper, "build_id", control->running.build_id, sizeof control->running.build_id);
    member_hex(helper, "version_id", control->running.version_id,
               sizeof control->running.version_id);
    member_number(helper, "started", (uint64_t)control->started);
    member_number(helper, "since", (uint64_t)control->running_since);
    member_text(helper, "state", state_word(control), 64);
    put_memory(helper, control);
    put_threads(helper, control);
    put_images(helper, control);
    put_history(helper, control);
    if (control == helper->speaker)
        put_children(helper);
    else
        member_number(helper, "parent", (uint64_t)control->parent);
    send_answer(helper, index);
    have_points_noted(helper, control);
}

/* ---- what kept an update from being made ----------------------------------------------------- */

static void member_release(struct helper *helper, const struct kitsune__control *control,
                           const uint8_t *build_id) {
    if (memcmp(control->release.build_id, build_id, KITSUNE_BUILD_ID_SIZE) == 0)
        MEMBER_ARRAY(helper, "release", control->path);
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++)
        if (memcmp(control->images[i].build_id, build_id, KITSUNE_BUILD_ID_SIZE) == 0) {
            MEMBER_ARRAY(helper, "release", control->images[i].path);
            return;
        }
}

static void member_trace(struct helper *helper, const struct kitsune__control *control,
                         const char *name, const struct kitsune__trace *trace) {
    put_name(helper, name);
    put_text(helper, "[");
    for (uint32_t i = 0; i < trace->count && i < KITSUNE__FRAMES; i++) {
        const struct kitsune__frame *frame = &trace->frames[i];

        put_text(helper, i ? ", {" : "{");
        MEMBER_ARRAY(helper, "function", frame->function);
        member_number(helper, "offset", frame->offset);
        member_hex(helper, "build_id", frame->build_id, sizeof frame->build_id);
        member_release(helper, control, frame->build_id);
        put_text(helper, "}");
    }
    put_text(helper, "]");
}

static void put_stuck(struct helper *helper, const struct kitsune__control *control,
                      const struct kitsune__stuck *stuck) {
    put_text(helper, "{");
    member_number(helper, "tid", (uint64_t)stuck->tid);
    MEMBER_ARRAY(helper, "name", stuck->name);
    MEMBER_ARRAY(helper, "does", stuck->does);
    MEMBER_ARRAY(helper, "point", stuck->point);
    member_trace(helper, control, "stack", &stuck->trace);
    if (stuck->holder != 0) {
        put_name(helper, "holder");
        put_text(helper, "{");
        member_number(helper, "tid", (uint64_t)stuck->holder);
        MEMBER_ARRAY(helper, "name", stuck->holder_name);
        MEMBER_ARRAY(helper, "point", stuck->holder_point);
        member_trace(helper, control, "stack", &stuck->holder_trace);
        put_text(helper, "}");
    }
    put_text(helper, "}");
}

/* What is known besides the reason: the threads that did not come, or where the new version failed. */
static void member_report(struct helper *helper, const struct kitsune__control *control) {
    const struct kitsune__report *report = &control->report;

    if (report->thread_count) {
        put_name(helper, "threads");
        put_text(helper, "[");
        for (uint32_t i = 0; i < report->thread_count && i < KITSUNE__NAMED; i++) {
            put_text(helper, i ? ", " : "");
            put_stuck(helper, control, &report->threads[i]);
        }
        put_text(helper, "]");
    }
    if (report->crash.count)
        member_trace(helper, control, "stack", &report->crash);
}

/* ---- an update ----------------------------------------------------------------------------- */

static struct flight *flight_of(struct helper *helper, const struct kitsune__control *control) {
    uint32_t index = 0;

    while (kitsune__tree_place(helper->tree, index) != control)
        index++;
    return &helper->flights[index];
}

static void end_flight(struct helper *helper, struct flight *flight) {
    close(flight->copy);
    flight->control = NULL;
    helper->flight_count--;
    helper->clients[flight->client].is_waiting = 0;
}

/* Ends the request here if the process has not taken it: non-zero. */
static int withdraw(struct kitsune__control *control, uint32_t code, const char *reason) {
    if (!move_state(control, KITSUNE__PENDING, KITSUNE__CHECKING))
        return 0;
    __atomic_fetch_and(&kitsune__tree_gate(control)->pending,
                       ~(uint32_t)(KITSUNE__PENDING_UPDATE | KITSUNE__PENDING_INTERRUPT),
                       __ATOMIC_RELEASE);
    note_unheard(control, code, reason);
    control->state = KITSUNE__IDLE;
    return 1;
}

static void kick(int32_t pid) {
    syscall(SYS_tgkill, pid, pid, SIGURG);
}

static void give_up_waiting(struct helper *helper, struct flight *flight) {
    char reason[1024];
    size_t used = kitsune__format(reason, sizeof reason,
                                  "the program did not reach an update point within %lu ms: ",
                                  (unsigned long)flight->wait_ms);
    struct kitsune__control *control = flight->control;

    used += describe(control->owner, reason + used, sizeof reason - used);
    if (control->look == KITSUNE__LOOK_DONE) {
        used += kitsune__format(reason + used, sizeof reason - used, "; ");
        kitsune__stuck_text(&control->report.threads[0], reason + used, sizeof reason - used);
    }
    if (!withdraw(control, KITSUNE__NOT_REACHED, reason))
        return;
    end_flight(helper, flight);
    begin(helper, "done");
    member_text(helper, "outcome", "withdrawn", 64);
    member_code(helper, KITSUNE__NOT_REACHED);
    MEMBER_ARRAY(helper, "reason", reason);
    if (control->look == KITSUNE__LOOK_DONE)
        member_report(helper, control);
    member_versions(helper, control, &control->running);
    send_answer(helper, flight->client);
}

/* The time is over. The program is asked what it does, and given a little time to answer; one that blocks
 * the kick does not. */
static void end_waiting(struct helper *helper, struct flight *flight, uint64_t now) {
    struct kitsune__control *control = flight->control;

    if (control->look == KITSUNE__LOOK_NONE) {
        control->report.thread_count = 0;
        control->look = KITSUNE__LOOK_WANTED;
        kick(control->owner);
        flight->look_until = now + LOOK_LIMIT_NS;
        flight->next_kick = flight->look_until;
    } else if (control->look == KITSUNE__LOOK_DONE || now >= flight->look_until) {
        give_up_waiting(helper, flight);
    }
}

/* Sets the gate again too: the program may have cleared it on behalf of a request before this one. */
static void kick_again(struct flight *flight, uint64_t now) {
    uint32_t bits = KITSUNE__PENDING_UPDATE;

    if (now - flight->started >= INTERRUPT_NS)
        bits |= KITSUNE__PENDING_INTERRUPT;
    __atomic_fetch_or(&kitsune__tree_gate(flight->control)->pending, bits, __ATOMIC_RELEASE);
    kick(flight->control->owner);
    flight->next_kick = now + flight->kick_wait;
    flight->kick_wait *= 2;
    if (flight->kick_wait > LAST_KICK_NS)
        flight->kick_wait = LAST_KICK_NS;
}

static void member_types(struct helper *helper, const struct kitsune__outcome *outcome) {
    put_name(helper, "types");
    put_text(helper, "[");
    for (uint32_t i = 0; i < outcome->share_count && i < KITSUNE__SHARES; i++) {
        const struct kitsune__type_share *share = &outcome->shares[i];

        put_text(helper, i ? ", {" : "{");
        MEMBER_ARRAY(helper, "type", share->name);
        member_number(helper, "moved", share->moved);
        member_number(helper, "in_place", share->in_place);
        put_text(helper, "}");
    }
    put_text(helper, "]");
}

static const char *outcome_word(const struct kitsune__outcome *outcome) {
    if (outcome->is_rehearsal)
        return outcome->committed ? "rehearsed" : "rehearsal-failed";
    if (outcome->committed)
        return "updated";
    return outcome->begun ? "rolled-back" : "refused";
}

static void answer_outcome(struct helper *helper, const struct flight *flight,
                           const struct kitsune__running *from) {
    const struct kitsune__outcome *outcome = &flight->control->outcome;

    begin(helper, "done");
    member_text(helper, "outcome", outcome_word(outcome), 64);
    if (!outcome->committed) {
        MEMBER_ARRAY(helper, "code", outcome->code);
        MEMBER_ARRAY(helper, "reason", outcome->reason);
        member_report(helper, flight->control);
    }
    MEMBER_ARRAY(helper, outcome->is_rehearsal ? "withheld" : "not_undone", outcome->not_undone);
    member_number(helper, "pause_ns", outcome->pause_ns);
    member_number(helper, "load_ns", outcome->load_ns);
    member_number(helper, "snapshot_ns", outcome->snapshot_ns);
    member_number(helper, "migrate_ns", outcome->migrate_ns);
    member_number(helper, "objects", outcome->objects);
    member_number(helper, "bytes", outcome->bytes);
    if (outcome->is_rehearsal) {
        member_number(helper, "memory_bytes", outcome->memory_bytes);
        member_number(helper, "growth_bytes", outcome->growth_bytes);
        member_number(helper, "waited_ns", outcome->waited_ns);
        member_number(helper, "thread_count", outcome->thread_count);
        member_number(helper, "stopped_ns", flight->control->stopped_ns);
    }
    if (outcome->committed)
        member_types(helper, outcome);
    member_number(helper, "request_ns", kitsune__now_ns() - flight->started);
    member_versions(helper, flight->control, from);
    send_answer(helper, flight->client);
}

/* The version before the update: the last entry of the history, which the program wrote. */
static struct kitsune__running version_before(const struct kitsune__control *control) {
    struct kitsune__running before = control->running;

    memcpy(before.version, control->past[(control->past_count - 1) % KITSUNE__HISTORY].from,
           sizeof before.version);
    return before;
}

/* At the next update point. */
static void have_copy_reaped(struct kitsune__control *control) {
    __atomic_fetch_or(&kitsune__tree_gate(control)->pending, KITSUNE__PENDING_RETIRE,
                      __ATOMIC_RELEASE);
}

/* In place of the snapshot that the update would take there was the making of the copy. */
static void add_snapshot(struct kitsune__control *control) {
    control->outcome.snapshot_ns += control->clone_ns;
    control->outcome.pause_ns += control->clone_ns;
}

static void finish_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    int is_rehearsal = control->outcome.is_rehearsal;
    struct kitsune__running before = is_rehearsal ? control->running : version_before(control);

    if (is_rehearsal)
        add_snapshot(control);
    answer_outcome(helper, flight, &before);
    control->state = KITSUNE__IDLE;
    if (is_rehearsal)
        have_copy_reaped(control);
    end_flight(helper, flight);
}

/* Non-zero if a copy has ended, reaped or not. */
static int is_copy_gone(int32_t copy) {
    char state = process_state(copy);

    return state == 'Z' || state == 'X' || (state == 0 && kill(copy, 0) < 0 && errno == ESRCH);
}

/* Ends the rehearsal here, if its copy has not done so: non-zero. The program reaps the copy at its next
 * update point. */
static int end_rehearsal(struct kitsune__control *control, uint32_t state) {
    int32_t copy;

    if (!move_state(control, KITSUNE__REHEARSING, state))
        return 0;
    copy = control->copy; /* one that is not there yet looks at the state when it is */
    if (copy > 0)
        kill(copy, SIGKILL);
    have_copy_reaped(control);
    return 1;
}

static void put_outcome(struct kitsune__control *control, enum kitsune__code code,
                        const char *reason) {
    struct kitsune__outcome *outcome = &control->outcome;

    memset(outcome, 0, sizeof *outcome);
    outcome->is_rehearsal = 1;
    kitsune__format(outcome->code, sizeof outcome->code, "K%u", (unsigned)code);
    kitsune__format(outcome->reason, sizeof outcome->reason, "%s", reason);
}

/* Looks after the copy that has the request. */
static void follow_rehearsal(struct helper *helper, struct flight *flight, uint64_t now) {
    struct kitsune__control *control = flight->control;
    uint64_t limit_ms = control->limits.total_ms ? control->limits.total_ms : REHEARSAL_LIMIT_MS;

    if (!flight->told_rehearsing) {
        flight->told_rehearsing = 1;
        flight->until = now + limit_ms * 1000000u + REHEARSAL_MARGIN_NS;
        answer_progress(helper, flight->client, control, "rehearsing");
    }
    if (helper->clients[flight->client].closing && end_rehearsal(control, KITSUNE__IDLE)) {
        end_flight(helper, flight);
    } else if (control->copy > 0 && is_copy_gone(control->copy) &&
               move_state(control, KITSUNE__REHEARSING, KITSUNE__DONE)) {
        if (!control->has_outcome)
            put_outcome(control, KITSUNE__COPY_ENDED,
                        "the copy of the process was killed, or ended by itself");
        finish_flight(helper, flight);
    } else if (now >= flight->until && end_rehearsal(control, KITSUNE__DONE)) {
        put_outcome(control, KITSUNE__TIME_LIMIT, "the copy of the process did not end in time");
        finish_flight(helper, flight);
    }
}

/* The process is gone: whoever waits is told. */
static void fail_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    int was_taken = control->state == KITSUNE__TAKEN;

    end_flight(helper, flight);
    answer_problem(helper, flight->client, control, "error", KITSUNE__PROGRAM_ENDED,
                   was_taken ? "the program ended during the update"
                             : "the program ended before it reached an update point");
}

/* Non-zero if the process is gone; its place may be another's then. One that has told its outcome may go.
 * The kernel is not asked at every look. */
static int has_ended(struct flight *flight, uint64_t now) {
    if (flight->control->owner != flight->owner)
        return 1;
    if (now < flight->next_look || flight->control->state == KITSUNE__DONE)
        return 0;
    flight->next_look = now + ORPHAN_NS;
    return !kitsune__tree_owner(flight->control);
}

/* Looks how far the update is; called often while there is one. */
static void follow_flight(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    uint32_t state = control->state;
    uint64_t now = kitsune__now_ns();

    if (control != helper->speaker && has_ended(flight, now)) { /* its end is noticed by itself */
        fail_flight(helper, flight);
    } else if (control->serial != flight->serial || state == KITSUNE__IDLE) {
        end_flight(helper, flight);
        answer_problem(helper, flight->client, control, "withdrawn", KITSUNE__WITHDRAWN,
                       "the program withdrew the request (kitsune_clear_request)");
    } else if (state == KITSUNE__DONE) {
        finish_flight(helper, flight);
    } else if (state == KITSUNE__REHEARSING) {
        follow_rehearsal(helper, flight, now);
    } else if (state == KITSUNE__PENDING && helper->clients[flight->client].closing &&
               withdraw(control, KITSUNE__NOT_REACHED, "the client that asked went away")) {
        end_flight(helper, flight);
    } else if (state == KITSUNE__PENDING && now >= flight->until) {
        end_waiting(helper, flight, now);
    } else if (state == KITSUNE__PENDING && now >= flight->next_kick) {
        kick_again(flight, now);
    }
}

static void follow_flights(struct helper *helper) {
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == ALONE)
            follow_flight(helper, &helper->flights[i]);
}

/* The release passed all checks: the program is asked. */
static void ask_program(struct helper *helper, int index, struct kitsune__control *control,
                        int copy, uint64_t wait_ms) {
    uint64_t now = kitsune__now_ns();
    struct flight *flight = flight_of(helper, control);

    answer_progress(helper, index, control, "checked");
    *flight = (struct flight){.control = control,
                              .client = index,
                              .copy = copy,
                              .owner = control->owner,
                              .serial = control->serial,
                              .started = now,
                              .until = now + wait_ms * 1000000u,
                              .kick_wait = FIRST_KICK_NS,
                              .wait_ms = wait_ms};
    helper->flight_count++;
    helper->clients[index].is_waiting = 1;
    control->state = KITSUNE__PENDING;
    kick_again(flight, now);
    answer_progress(helper, index, control, "requested");
}

static void answer_already_running(struct helper *helper, int index,
                                   const struct kitsune__control *control) {
    begin(helper, "done");
    member_text(helper, "outcome", "already-running", 64);
    member_versions(helper, control, &control->running);
    send_answer(helper, index);
}

/* What the client wants. */
struct wish {
    const char *path;
    struct kitsune__limits limits;
    uint64_t wait_ms;
    struct kitsune__control *control; /* of whom */
    uint32_t round;
    int is_rehearsal;
};

/* An outcome that a helper before this one waited for: nobody does. */
static void drop_outcome(struct kitsune__control *control) {
    if (move_state(control, KITSUNE__DONE, KITSUNE__IDLE))
        have_copy_reaped(control); /* if it was a rehearsal, its copy has ended meanwhile */
}

/* The process, of which no flight is under way, takes no other request from here on: non-zero. */
static int claim_request(struct kitsune__control *control, const struct wish *wish) {
    drop_outcome(control); /* one that came to its end only after this helper had started */
    if (!move_state(control, KITSUNE__IDLE, KITSUNE__CHECKING))
        return 0;
    control->serial++;
    control->origin = KITSUNE__FROM_OUTSIDE;
    control->round = wish->round;
    control->is_rehearsal = (uint32_t)wish->is_rehearsal;
    control->gave_up = 0;
    control->limits = wish->limits;
    control->wait_ms = wish->wait_ms;
    memcpy(control->path, wish->path, strlen(wish->path) + 1);
    memset(&control->release, 0, sizeof control->release);
    memset(&control->report, 0, sizeof control->report);
    control->look = KITSUNE__LOOK_NONE;
    return 1;
}

static int has_good_path(struct helper *helper, int index, const struct wish *wish) {
    if (strlen(wish->path) < PATH_MAX && wish->path[0] == '/')
        return 1;
    answer_problem(helper, index, helper->speaker, "error", KITSUNE__BAD_REQUEST,
                   "the release's path must be absolute and shorter than 4096 bytes");
    return 0;
}

static void start_update(struct helper *helper, int index, const struct wish *wish) {
    struct kitsune__control *control = wish->control;
    struct kitsune__problem problem;
    int copy = -1;

    if (!has_good_path(helper, index, wish))
        return;
    if (flight_of(helper, control)->control || !claim_request(control, wish)) {
        answer_problem(helper, index, control, "busy", KITSUNE__BUSY,
                       "another update is under way");
        return;
    }
    if (is_filtered(helper, control)) {
        note_unheard(control, KITSUNE__FILTERED, FILTERED_REASON);
        answer_problem(helper, index, control, "refused", KITSUNE__FILTERED, FILTERED_REASON);
        control->state = KITSUNE__IDLE;
        return;
    }
    switch (kitsune__check_release(wish->path, helper->user, &control->running, &control->release,
                                   &copy, &problem)) {
    case KITSUNE__RELEASE_ACCEPTED:
        ask_program(helper, index, control, copy, wish->wait_ms);
        break;
    case KITSUNE__RELEASE_IS_RUNNING:
        answer_already_running(helper, index, control);
        control->state = KITSUNE__IDLE;
        break;
    case KITSUNE__RELEASE_REFUSED:
        note_unheard(control, problem.code, problem.text);
        answer_problem(helper, index, control, "rejected", problem.code, problem.text);
        control->state = KITSUNE__IDLE;
        break;
    }
}

/* ---- a round -------------------------------------------------------------------------------- */

static uint32_t open_verdict(const struct helper *helper) {
    return helper->round.number * KITSUNE__DECISIONS;
}

/* Returns 0 if somebody else has decided before. */
static int decide(struct helper *helper, uint32_t decision) {
    struct kitsune__tree *tree = helper->tree;
    uint32_t open = open_verdict(helper);
    int is_ours = atomic_compare_exchange_strong(&tree->verdict, &open, open + decision);

    helper->round.is_decided = 1;
    syscall(SYS_futex, &tree->verdict, FUTEX_WAKE, INT32_MAX, NULL, NULL, 0);
    return is_ours;
}

/* The first cause counts; all others are only told that there is one. */
static void undo_round(struct helper *helper, int32_t culprit, const char *word, uint32_t code,
                       const char *reason) {
    struct round *round = &helper->round;

    if (round->word || helper->tree->verdict == open_verdict(helper) + KITSUNE__COMMIT_ALL)
        return;
    round->culprit = culprit;
    round->word = word;
    round->code = code;
    kitsune__format(round->reason, sizeof round->reason, "%s", reason);
    kitsune__format(helper->tree->cause, sizeof helper->tree->cause,
                    "process %d of the tree was not updated (K%u)", culprit, code);
    decide(helper, KITSUNE__UNDO_ALL);
}

static void end_step(struct flight *flight, const char *word, uint32_t code) {
    flight->step = OVER;
    flight->word = word;
    flight->code = code;
}

static void fail_step(struct helper *helper, struct flight *flight, const char *word, uint32_t code,
                      const char *reason) {
    end_step(flight, word, code);
    undo_round(helper, flight->owner, word, code, reason);
}

/* Checks one copy for all: what is loaded everywhere are the same bytes. */
static enum kitsune__acceptance check_for(struct helper *helper, struct kitsune__control *control,
                                          struct kitsune__problem *problem) {
    struct round *round = &helper->round;
    enum kitsune__acceptance acceptance;
    struct stat status;

    if (round->copy >= 0)
        return kitsune__check_image(round->bytes, round->size, &control->running, &control->release,
                                    problem);
    acceptance = kitsune__check_release(round->path, helper->user, &control->running,
                                        &control->release, &round->copy, problem);
    if (acceptance != KITSUNE__RELEASE_ACCEPTED)
        return acceptance;
    if (fstat(round->copy, &status) == 0)
        round->bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, round->copy, 0);
    if (!round->bytes || round->bytes == MAP_FAILED) {
        problem->code = KITSUNE__NO_MEMORY;
        kitsune__format(problem->text, sizeof problem->text, "the release cannot be mapped");
        round->bytes = NULL;
        return KITSUNE__RELEASE_REFUSED;
    }
    round->size = (size_t)status.st_size;
    return acceptance;
}

/* The file may have been exchanged since a process was found to run it already. */
static int is_same_release(struct helper *helper, const struct kitsune__control *control) {
    struct kitsune__running *release = &helper->round.release;

    if (!release->version[0])
        *release = control->release;
    return memcmp(release->build_id, control->release.build_id, sizeof release->build_id) == 0;
}

static void check_step(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    struct kitsune__problem problem = {KITSUNE__UNSAFE_FILE, "the release's file was exchanged"};
    enum kitsune__acceptance acceptance = check_for(helper, control, &problem);

    if (acceptance != KITSUNE__RELEASE_REFUSED && !is_same_release(helper, control))
        acceptance = KITSUNE__RELEASE_REFUSED;
    switch (acceptance) {
    case KITSUNE__RELEASE_ACCEPTED:
        flight->step = CHECKED;
        return;
    case KITSUNE__RELEASE_IS_RUNNING:
        end_step(flight, "already-running", 0);
        break;
    case KITSUNE__RELEASE_REFUSED:
        note_unheard(control, problem.code, problem.text);
        fail_step(helper, flight, "rejected", problem.code, problem.text);
        break;
    }
    control->state = KITSUNE__IDLE;
}

static struct kitsune__control *place_of(struct helper *helper, int32_t pid) {
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++)
        if (kitsune__tree_place(helper->tree, i)->owner == pid)
            return kitsune__tree_place(helper->tree, i);
    return NULL;
}

static unsigned depth_of(struct helper *helper, const struct kitsune__control *control) {
    unsigned depth = 0;

    while (control && depth < KITSUNE__PLACES && control->parent)
        if ((control = place_of(helper, control->parent)))
            depth++;
    return depth;
}

static void join_round(struct helper *helper, struct flight *flight,
                       struct kitsune__control *control) {
    const struct round *round = &helper->round;
    struct wish wish = {.path = round->path,
                        .limits = round->limits,
                        .wait_ms = round->wait_ms,
                        .control = control,
                        .round = round->number};

    *flight = (struct flight){.control = control,
                              .client = round->client,
                              .copy = -1,
                              .owner = control->owner,
                              .started = round->started,
                              .wait_ms = round->wait_ms,
                              .step = CHECKED,
                              .depth = depth_of(helper, control)};
    helper->flight_count++;
    if (!claim_request(control, &wish)) {
        fail_step(helper, flight, "busy", KITSUNE__BUSY, "another update is under way");
        return;
    }
    flight->serial = control->serial;
    if (is_filtered(helper, control)) {
        note_unheard(control, KITSUNE__FILTERED, FILTERED_REASON);
        fail_step(helper, flight, "refused", KITSUNE__FILTERED, FILTERED_REASON);
        control->state = KITSUNE__IDLE;
        return;
    }
    check_step(helper, flight);
}

/* Takes in all that live and are not in yet. Non-zero if there were any. */
static int gather_tree(struct helper *helper) {
    int has_new = 0;

    for (uint32_t i = 0; !helper->round.is_decided && i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);
        struct flight *flight = &helper->flights[i];
        int32_t owner = control->owner;

        if (flight->control && flight->step == ALONE)
            undo_round(helper, owner, "busy", KITSUNE__BUSY, "another update is under way");
        if (owner <= 0 || (flight->control && flight->owner == owner))
            continue;
        if (flight->control && flight->step != OVER)
            continue; /* found to have ended at its next look */
        if (!kitsune__tree_owner(control))
            continue;
        if (flight->control) /* one that ended in this round had the place */
            helper->flight_count--;
        join_round(helper, flight, control);
        has_new = 1;
    }
    return has_new;
}

/* The process may have ended since it was checked, and its place be another's. */
static void ask_step(struct flight *flight) {
    uint64_t now = kitsune__now_ns();

    flight->step = ASKED;
    flight->started = now;
    flight->until = now + flight->wait_ms * 1000000u;
    flight->kick_wait = FIRST_KICK_NS;
    if (flight->control->owner == flight->owner &&
        move_state(flight->control, KITSUNE__CHECKING, KITSUNE__PENDING))
        kick_again(flight, now);
}

static void give_up_step(struct helper *helper, struct flight *flight) {
    char reason[512];
    size_t used =
        kitsune__format(reason, sizeof reason,
                        "process %d did not reach an update point within %lu ms: ", flight->owner,
                        (unsigned long)flight->wait_ms);

    describe(flight->owner, reason + used, sizeof reason - used);
    if (withdraw(flight->control, KITSUNE__NOT_REACHED, reason))
        fail_step(helper, flight, "withdrawn", KITSUNE__NOT_REACHED, reason);
}

static uint32_t number_of_code(const char *code) {
    uint32_t number = 0;

    for (; *code; code++)
        if (*code >= '0' && *code <= '9')
            number = number * 10 + (uint32_t)(*code - '0');
    return number;
}

/* The process has told its outcome. */
static void finish_step(struct helper *helper, struct flight *flight) {
    const struct kitsune__outcome *outcome = &flight->control->outcome;
    uint32_t code = number_of_code(outcome->code);

    if (outcome->committed)
        end_step(flight, "updated", 0);
    else if (code == KITSUNE__TREE_UNDONE && !flight->control->gave_up)
        end_step(flight, outcome_word(outcome), code); /* by another one, which tells why */
    else
        fail_step(helper, flight, outcome_word(outcome), code, outcome->reason);
    flight->control->state = KITSUNE__IDLE;
}

/* Nobody is asked any more. */
static void call_off(struct helper *helper, struct flight *flight) {
    if (flight->step == CHECKED) {
        flight->control->state = KITSUNE__IDLE;
        end_step(flight, "not-asked", 0);
    } else if (flight->step == ASKED && flight->control->state == KITSUNE__PENDING &&
               withdraw(flight->control, KITSUNE__TREE_UNDONE, helper->tree->cause)) {
        end_step(flight, "withdrawn", KITSUNE__TREE_UNDONE);
    }
}

/* A child that ends before it began to be updated is no failure: they come and go. */
static void note_end(struct helper *helper, struct flight *flight) {
    uint32_t state = flight->control->state;
    int had_begun = flight->step == READY || (flight->control->owner == flight->owner &&
                                              (state == KITSUNE__TAKEN || state == KITSUNE__READY));

    if (flight->control != helper->speaker && !had_begun)
        end_step(flight, "ended", 0);
    else
        fail_step(helper, flight, "error", KITSUNE__PROGRAM_ENDED,
                  "a process of the tree ended during the update");
}

static void follow_step(struct helper *helper, struct flight *flight) {
    struct kitsune__control *control = flight->control;
    uint32_t state = control->state;
    uint64_t now = kitsune__now_ns();

    if (has_ended(flight, now)) {
        note_end(helper, flight);
    } else if (flight->step == CHECKED) {
        return;
    } else if (control->serial != flight->serial || state == KITSUNE__IDLE) {
        fail_step(helper, flight, "withdrawn", KITSUNE__WITHDRAWN,
                  "the program withdrew the request (kitsune_clear_request)");
    } else if (state == KITSUNE__DONE) {
        finish_step(helper, flight);
    } else if (state == KITSUNE__READY && flight->step == ASKED) {
        flight->step = READY;
        answer_progress(helper, helper->round.client, control, "ready");
    } else if (state == KITSUNE__PENDING && now >= flight->until) {
        give_up_step(helper, flight);
    } else if (state == KITSUNE__PENDING && now >= flight->next_kick) {
        kick_again(flight, now);
    }
}

/* How many are at this step. */
static uint32_t count_steps(const struct helper *helper, enum step step) {
    uint32_t count = 0;

    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        count += helper->flights[i].control && helper->flights[i].step == step;
    return count;
}

/* Asks those that are next in the order: all of one depth. */
static void ask_next(struct helper *helper) {
    const struct round *round = &helper->round;
    unsigned next = round->children_first ? 0 : KITSUNE__PLACES;

    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        const struct flight *flight = &helper->flights[i];

        if (flight->control && flight->step == CHECKED &&
            (round->children_first ? flight->depth > next : flight->depth < next))
            next = flight->depth;
    }
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == CHECKED &&
            helper->flights[i].depth == next)
            ask_step(&helper->flights[i]);
}

static void refuse_incomplete(struct helper *helper, const char *format, uint32_t count,
                              int32_t pid) {
    char reason[256];

    kitsune__format(reason, sizeof reason, format, count, pid);
    undo_round(helper, pid, "refused", KITSUNE__TREE_INCOMPLETE, reason);
}

/* Every process that is known stands at its commit: none of them can fork any more. What they forked before
 * has taken its place, or does so soon; then all are known. */
static void try_commit(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;
    struct round *round = &helper->round;
    uint64_t now = kitsune__now_ns();
    int32_t some;
    uint32_t left_out;

    if (!round->stable_since)
        round->stable_since = now;
    if (tree->forking > 0 && now - round->stable_since <= FORKING_LIMIT_NS)
        return;
    if (tree->forking > 0) {
        tree->forking = 0; /* its child was killed before it ran */
        refuse_incomplete(helper, "a process was forked (%u) that did not begin to run", 1,
                          helper->speaker->owner);
        return;
    }
    if (gather_tree(helper)) {
        round->stable_since = 0;
        return;
    }
    left_out = kitsune__tree_left_out(tree, &some);
    if (left_out)
        refuse_incomplete(helper, "%u processes of the tree cannot be updated, one is %d", left_out,
                          some);
    else
        decide(helper, KITSUNE__COMMIT_ALL); /* else a process has just lost its patience */
}

static void put_process(struct helper *helper, const struct flight *flight) {
    put_text(helper, helper->answer[helper->used - 1] == '[' ? "{" : ", {");
    member_number(helper, "pid", (uint64_t)flight->owner);
    member_text(helper, "outcome", flight->word, 64);
    if (flight->code)
        member_code(helper, flight->code);
    if (flight->word[0] == 'u') {
        member_number(helper, "pause_ns", flight->control->outcome.pause_ns);
        member_number(helper, "objects", flight->control->outcome.objects);
    }
    put_text(helper, "}");
}

static void put_processes(struct helper *helper) {
    put_name(helper, "processes");
    put_text(helper, "[");
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step != ALONE)
            put_process(helper, &helper->flights[i]);
    put_text(helper, "]");
}

/* "updated" if any was: those that are told with it ran the release already. */
static const char *round_word(const struct helper *helper) {
    if (helper->round.word)
        return helper->round.word;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step == OVER &&
            helper->flights[i].word[0] == 'u')
            return "updated";
    return "already-running";
}

static void answer_round(struct helper *helper) {
    struct round *round = &helper->round;

    begin(helper, "done");
    member_text(helper, "outcome", round_word(helper), 64);
    if (round->word) {
        member_number(helper, "process", (uint64_t)round->culprit);
        member_code(helper, round->code);
        MEMBER_ARRAY(helper, "reason", round->reason);
    }
    put_processes(helper);
    member_number(helper, "request_ns", kitsune__now_ns() - round->started);
    member_number(helper, "pid", (uint64_t)helper->speaker->owner);
    MEMBER_ARRAY(helper, "program", helper->speaker->running.program);
    MEMBER_ARRAY(helper, "to", round->release.version);
    send_answer(helper, round->client);
}

static void end_round(struct helper *helper) {
    struct round *round = &helper->round;

    answer_round(helper);
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        if (!helper->flights[i].control || helper->flights[i].step == ALONE)
            continue;
        helper->flights[i].control = NULL;
        helper->flight_count--;
    }
    helper->clients[round->client].is_waiting = 0;
    if (round->bytes)
        munmap((void *)round->bytes, round->size);
    if (round->copy >= 0)
        close(round->copy);
    round->client = -1;
}

/* A process may have decided; its outcome tells why. */
static void notice_verdict(struct helper *helper) {
    if (helper->tree->verdict != open_verdict(helper))
        helper->round.is_decided = 1;
    else if (helper->clients[helper->round.client].closing)
        undo_round(helper, helper->speaker->owner, "withdrawn", KITSUNE__WITHDRAWN,
                   "the client that asked went away");
}

/* Looks how far the round is; called often while there is one. */
static void follow_round(struct helper *helper) {
    struct round *round = &helper->round;

    if (round->client < 0)
        return;
    helper->tree->beat++;
    if (!round->is_decided)
        notice_verdict(helper);
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control && helper->flights[i].step != ALONE &&
            helper->flights[i].step != OVER) {
            follow_step(helper, &helper->flights[i]);
            if (round->is_decided)
                call_off(helper, &helper->flights[i]);
        }
    if (!round->is_decided && !count_steps(helper, ASKED)) {
        if (count_steps(helper, CHECKED))
            ask_next(helper);
        else
            try_commit(helper);
    } else if (round->is_decided && !count_steps(helper, CHECKED) && !count_steps(helper, ASKED) &&
               !count_steps(helper, READY)) {
        end_round(helper);
    }
}

static void start_round(struct helper *helper, int index, const struct wish *wish,
                        int children_first) {
    struct round *round = &helper->round;
    uint32_t left_out;
    int32_t some;

    if (!has_good_path(helper, index, wish))
        return;
    if (round->client >= 0) {
        answer_problem(helper, index, helper->speaker, "busy", KITSUNE__BUSY,
                       "another update of the tree is under way");
        return;
    }
    *round = (struct round){.client = index,
                            .copy = -1,
                            .number = ++helper->tree->round,
                            .children_first = children_first,
                            .limits = wish->limits,
                            .wait_ms = wish->wait_ms,
                            .started = kitsune__now_ns()};
    memcpy(round->path, wish->path, strlen(wish->path) + 1);
    kitsune__format(helper->tree->cause, sizeof helper->tree->cause,
                    "another process of the tree gave the update up");
    helper->tree->verdict = open_verdict(helper);
    helper->clients[index].is_waiting = 1;
    left_out = kitsune__tree_left_out(helper->tree, &some);
    if (left_out)
        refuse_incomplete(helper, "%u processes of the tree cannot be updated, one is %d", left_out,
                          some);
    gather_tree(helper);
    if (!round->is_decided)
        answer_progress(helper, index, helper->speaker, "checked");
}

/* ---- requests ------------------------------------------------------------------------------ */

/* Undoes the percent encoding in place. Returns 0 if it is malformed or hides a zero byte. */
static int decode(char *text) {
    char *to = text;

    for (const char *from = text; *from; from++) {
        if ((unsigned char)*from < 0x20 || *from == 0x7f)
            return 0;
        if (*from == '%') {
            int high = digit_value(from[1]), low = high < 0 ? -1 : digit_value(from[2]);

            if (low < 0 || (high == 0 && low == 0))
                return 0;
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return 1;
}

static int read_ms(const char *text, uint64_t *ms) {
    return kitsune__limits_read_ms(text, NULL, ms);
}

/* Splits at single spaces and decodes; returns the number of words, 0 if the line is malformed. */
static unsigned split(char *line, char *words[MAX_WORDS]) {
    unsigned count = 0;

    for (;;) {
        char *space = strchr(line, ' ');

        if (space)
            *space = '\0';
        if (count == MAX_WORDS || !*line || !decode(line))
            return 0;
        words[count++] = line;
        if (!space)
            return count;
        line = space + 1;
    }
}

static void answer_bad_request(struct helper *helper, int index, const char *reason) {
    answer_problem(helper, index, helper->speaker, "error", KITSUNE__BAD_REQUEST, reason);
}

/* The place of the process that a word names; NULL: the client was told why not. */
static struct kitsune__control *find_process(struct helper *helper, int index, const char *word) {
    uint64_t pid = 0;
    char reason[160];

    for (; *word >= '0' && *word <= '9' && pid <= INT32_MAX; word++)
        pid = pid * 10 + (uint64_t)(*word - '0');
    if (*word || !pid) {
        answer_bad_request(helper, index, "the last word is no process id");
        return NULL;
    }
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if ((uint64_t)control->owner == pid && kitsune__tree_owner(control))
            return control;
    }
    kitsune__format(reason, sizeof reason,
                    "process %lu is none of this tree's, or has no place in it",
                    (unsigned long)pid);
    answer_problem(helper, index, helper->speaker, "error", KITSUNE__NOT_IN_TREE, reason);
    return NULL;
}

static void serve_status(struct helper *helper, int index, char **words, unsigned count) {
    struct kitsune__control *control = helper->speaker;

    if (count > 2) {
        answer_bad_request(helper, index, "usage: status [PID]");
        return;
    }
    if (count == 2)
        control = find_process(helper, index, words[1]);
    if (control)
        answer_status(helper, index, control);
}

/* 0 is each time's default. */
static void serve_update(struct helper *helper, int index, char **words, unsigned count) {
    struct wish wish = {.control = helper->speaker, .is_rehearsal = words[0][0] == 'r'};

    if (count < 2 || (count > 2 && !kitsune__limits_read(words[2], &wish.limits)) ||
        (count > 3 && !read_ms(words[3], &wish.wait_ms))) {
        answer_bad_request(helper, index, "usage: update|rehearse PATH [LIMITS [WAIT_MS [PID]]]");
        return;
    }
    wish.path = words[1];
    if (!wish.wait_ms)
        wish.wait_ms = KITSUNE__DEFAULT_WAIT_MS;
    if (count > 4)
        wish.control = find_process(helper, index, words[4]);
    if (wish.control)
        start_update(helper, index, &wish);
}

static void serve_update_tree(struct helper *helper, int index, char **words, unsigned count) {
    struct wish wish = {.control = helper->speaker};
    int children_first = count == 5 && strcmp(words[4], "children-first") == 0;

    if (count != 5 || !kitsune__limits_read(words[2], &wish.limits) ||
        !read_ms(words[3], &wish.wait_ms) ||
        (!children_first && strcmp(words[4], "parent-first") != 0)) {
        answer_bad_request(helper, index,
                           "usage: update-tree PATH LIMITS WAIT_MS parent-first|children-first");
        return;
    }
    wish.path = words[1];
    if (!wish.wait_ms)
        wish.wait_ms = KITSUNE__DEFAULT_WAIT_MS;
    start_round(helper, index, &wish, children_first);
}

/* One line without its end. */
static void serve_line(struct helper *helper, int index, char *line) {
    char *words[MAX_WORDS];
    unsigned count = split(line, words);

    if (count == 0)
        answer_bad_request(helper, index, "the request is malformed");
    else if (strcmp(words[0], "status") == 0)
        serve_status(helper, index, words, count);
    else if (strcmp(words[0], "update") == 0 || strcmp(words[0], "rehearse") == 0)
        serve_update(helper, index, words, count);
    else if (strcmp(words[0], "update-tree") == 0)
        serve_update_tree(helper, index, words, count);
    else
        answer_bad_request(
            helper, index,
            "unknown request; known are 'status', 'update', 'rehearse' and 'update-tree'");
}

/* Serves the complete lines of a client, as long as none of them starts an update. */
static void serve_lines(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];

    while (client->fd >= 0 && !client->closing && !client->is_waiting) {
        char *line_end = memchr(client->line, '\n', client->used);
        size_t length;

        if (!line_end) {
            if (client->used > LINE_LIMIT) {
                answer_bad_request(helper, index, "the request is longer than 65536 bytes");
                client->closing = 1;
            }
            return;
        }
        length = (size_t)(line_end - client->line);
        *line_end = '\0';
        if (strlen(client->line) != length)
            answer_bad_request(helper, index, "the request is malformed");
        else
            serve_line(helper, index, client->line);
        client->used -= length + 1;
        memmove(client->line, line_end + 1, client->used);
    }
}

static void read_client(struct helper *helper, int index) {
    struct client *client = &helper->clients[index];
    size_t room = sizeof client->line - client->used;
    char spill[256]; /* while its update runs, a full buffer must still notice the end */
    ssize_t got = room ? recv(client->fd, client->line + client->used, room, MSG_DONTWAIT)
                       : recv(client->fd, spill, sizeof spill, MSG_DONTWAIT);

    if (got > 0 && room) {
        if (client->used == 0)
            client->until = kitsune__now_ns() + CLIENT_LIMIT_NS;
        client->used += (size_t)got;
    } else if (got == 0 || !room || (errno != EAGAIN && errno != EINTR)) {
        client->closing = 1;
    }
}

static int may_ask(const struct helper *helper, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == 0 || peer.uid == helper->user);
}

/* Index of a free place, or -1. */
static int free_place(const struct helper *helper) {
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd < 0)
            return i;
    return -1;
}

static void accept_client(struct helper *helper) {
    int index = free_place(helper), fd;

    if (index < 0)
        return;
    fd = accept4(helper->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    helper->clients[index].fd = fd;
    helper->clients[index].used = 0;
    helper->clients[index].closing = 0;
    helper->clients[index].is_waiting = 0;
    helper->clients[index].until = kitsune__now_ns() + CLIENT_LIMIT_NS;
    if (!may_ask(helper, fd)) {
        answer_problem(helper, index, helper->speaker, "error", KITSUNE__NOT_PERMITTED,
                       "only root and the user that started the program may ask");
        drop_client(helper, index); /* at once: it must not hold a place */
    }
}

/* ---- the program's own connection ---------------------------------------------------------- */

/* The update of the process that connects; NULL if it has taken none. */
static struct flight *flight_of_peer(struct helper *helper, int fd) {
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        return NULL;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++) {
        struct flight *flight = &helper->flights[i];

        if (flight->control && flight->owner == peer.pid &&
            flight->control->state == KITSUNE__TAKEN)
            return flight;
    }
    return NULL;
}

static void send_descriptor(int connection, int fd) {
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } extra;
    char byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &extra, .msg_controllen = sizeof extra};

    memset(&extra, 0, sizeof extra);
    extra.header.cmsg_level = SOL_SOCKET;
    extra.header.cmsg_type = SCM_RIGHTS;
    extra.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&extra.header), &fd, sizeof fd);
    sendmsg(connection, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* The program has taken the request and wants the copy. */
static void serve_fetch(struct helper *helper) {
    int fd = accept4(helper->fetcher, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct flight *flight = fd < 0 ? NULL : flight_of_peer(helper, fd);

    if (flight)
        send_descriptor(fd, flight->step == ALONE ? flight->copy : helper->round.copy);
    if (fd >= 0)
        close(fd);
}

/* ---- the socket ---------------------------------------------------------------------------- */

/* Opens a directory that is ours alone, after making it. Returns -1 with the reason. */
static int open_directory(struct helper *helper, const char *path, char *why, size_t size) {
    struct stat status;
    int fd;

    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        kitsune__format(why, size, "%s cannot be made: %s", path, strerrordesc_np(errno));
        return -1;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        kitsune__format(why, size, "%s cannot be opened: %s", path, strerrordesc_np(errno));
    else if (status.st_uid != helper->user)
        kitsune__format(why, size, "%s belongs to uid %u, not to uid %u", path, status.st_uid,
                        helper->user);
    else if (status.st_mode & 077)
        kitsune__format(why, size, "%s is open to others; its mode must be 0700", path);
    else
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Binds below the directory's descriptor: no length limit, no way to put another directory there. */
static int bind_socket(struct helper *helper, const char *path, char *why, size_t size) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    kitsune__format(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s",
                    helper->directory, helper->socket_name);
    unlinkat(helper->directory, helper->socket_name, 0); /* of a process that had our number */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        listen(fd, MAX_CLIENTS) == 0 &&
        fstatat(helper->directory, helper->socket_name, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        helper->socket_inode = status.st_ino;
        return fd;
    }
    kitsune__format(why, size, "no socket can be made in %s: %s", path, strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int listen_in(struct helper *helper, const char *path, char *why, size_t size) {
    helper->directory = open_directory(helper, path, why, size);
    if (helper->directory < 0)
        return 0;
    helper->listener = bind_socket(helper, path, why, size);
    if (helper->listener < 0)
        close(helper->directory);
    return helper->listener >= 0;
}

static int belongs_to_us(const struct helper *helper, const char *path) {
    struct stat status;

    return path[0] == '/' && stat(path, &status) == 0 && status.st_uid == helper->user;
}

/* Tries the places in the order of docs/operations.md. A place that the user named is the only one. */
static int listen_anywhere(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;
    char path[300], *why = tree->failure;
    size_t size = sizeof tree->failure;

    why[0] = '\0';
    if (tree->runtime_directory[0]) {
        if (listen_in(helper, tree->runtime_directory, why, size))
            return 1;
        /* Later helpers may have fewer rights than the first had. */
        if (!tree->replacements)
            return 0;
    }
    kitsune__format(path, sizeof path, "%s/kitsune", tree->user_directory);
    if (belongs_to_us(helper, tree->user_directory) && listen_in(helper, path, why, size))
        return 1;
    if (helper->user == 0 && listen_in(helper, "/run/kitsune", why, size))
        return 1;
    kitsune__format(path, sizeof path, "/tmp/kitsune-%u", helper->user);
    return listen_in(helper, path, why, size);
}

/* An abstract socket of a name that nobody can guess; see fetch_copy of request.c. */
static int listen_for_fetch(struct helper *helper) {
    static const char digits[] = "0123456789abcdef";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct kitsune__tree *tree = helper->tree;
    unsigned char token[16];
    size_t length;

    if (getrandom(token, sizeof token, GRND_NONBLOCK) != (ssize_t)sizeof token)
        return -1;
    length = kitsune__format(tree->fetch_name, sizeof tree->fetch_name, "kitsune-");
    for (size_t i = 0; i < sizeof token; i++) {
        tree->fetch_name[length++] = digits[token[i] >> 4];
        tree->fetch_name[length++] = digits[token[i] & 15];
    }
    tree->fetch_name[length] = '\0';
    memcpy(address.sun_path + 1, tree->fetch_name, length);
    helper->fetcher = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (helper->fetcher < 0)
        return -1;
    if (bind(helper->fetcher, (struct sockaddr *)&address,
             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) < 0)
        return -1;
    return listen(helper->fetcher, 4);
}

/* Takes the name away, if it is still our socket's. */
static void remove_socket(struct helper *helper) {
    struct stat status;

    if (helper->listener < 0)
        return;
    if (fstatat(helper->directory, helper->socket_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
        status.st_ino == helper->socket_inode)
        unlinkat(helper->directory, helper->socket_name, 0);
    close(helper->listener);
    helper->listener = -1;
}

/* ---- the program's end --------------------------------------------------------------------- */

/* The only child that is left, or the only one that leads a session; 0 if there is none such.
 * `count` gets the number of children that are left. */
static int32_t find_heir(struct helper *helper, unsigned *count) {
    int32_t only = 0, leader = 0;
    unsigned leaders = 0;

    *count = 0;
    for (unsigned i = 0; i < KITSUNE__CANDIDATES; i++) {
        int32_t pid = helper->tree->candidates[i].pid;

        if (pid == 0 || !kitsune__tree_is_alive(pid, UINT64_MAX))
            continue;
        (*count)++;
        only = pid;
        if (getsid(pid) == pid) {
            leader = pid;
            leaders++;
        }
    }
    if (*count == 1)
        return only;
    return leaders == 1 ? leader : 0;
}

static void drop_clients(struct helper *helper) {
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++)
        if (helper->flights[i].control == helper->speaker && helper->flights[i].step == ALONE)
            fail_flight(helper, &helper->flights[i]);
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd >= 0 && !helper->clients[i].is_waiting)
            drop_client(helper, i);
}

/* The speaker has ended: whoever waits is told, and the name goes. */
static void become_orphan(struct helper *helper) {
    helper->orphan_since = helper->child_seen = kitsune__now_ns();
    remove_socket(helper);
    drop_clients(helper);
}

static void name_socket(struct helper *helper) {
    kitsune__format(helper->socket_name, sizeof helper->socket_name, "%d.sock",
                    helper->speaker->owner);
}

/* No child takes the channel over: the oldest one left lends its name to the socket. */
static void speak_for_another(struct helper *helper) {
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if (!kitsune__tree_owner(control))
            continue;
        helper->speaker = control;
        helper->orphan_since = 0;
        if (helper->speaker_fd >= 0)
            close(helper->speaker_fd);
        helper->speaker_fd = (int)syscall(SYS_pidfd_open, control->owner, 0);
        name_socket(helper);
        if (listen_anywhere(helper))
            return;
        end();
    }
    end();
}

/* Offers the channel to a child, until one has taken it or none is left that could. */
static void look_after_children(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;
    uint64_t now = kitsune__now_ns(), waited = now - helper->orphan_since;
    unsigned count = 0;
    int32_t heir = tree->root == helper->root ? find_heir(helper, &count) : 0;

    if (count > 0)
        helper->child_seen = now;
    if (tree->adopted != helper->adopted)
        end();
    if (heir) {
        tree->heir = heir;
        kick(heir);
    } else if (count == 0 ? tree->forking <= 0 || now - helper->child_seen > FORKING_LIMIT_NS
                          : waited > ORPHAN_LIMIT_NS) {
        speak_for_another(helper);
    }
}

static int speaker_has_ended(struct helper *helper, short events) {
    if (helper->speaker_fd >= 0)
        return events != 0;
    return !kitsune__tree_owner(helper->speaker);
}

/* ---- the loop ------------------------------------------------------------------------------ */

/* How long the helper may sleep; -1: until something comes. */
static int64_t next_wait(struct helper *helper, uint64_t now) {
    uint64_t until = UINT64_MAX;

    if (helper->orphan_since)
        return ORPHAN_NS;
    if (helper->speaker_fd < 0)
        until = now + ABSENT_PIDFD_NS;
    for (uint32_t i = 0; helper->flight_count && i < kitsune__tree_capacity(); i++) {
        const struct flight *flight = &helper->flights[i];
        uint64_t look = now + LOOK_NS;

        if (flight->control && flight->step == ALONE &&
            flight->control->state == KITSUNE__PENDING && !flight->control->look)
            look = flight->next_kick;
        if (flight->control && look < until)
            until = look;
    }
    if (helper->round.client >= 0 && now + LOOK_NS < until)
        until = now + LOOK_NS;
    if (helper->note_until && helper->note_until < until)
        until = helper->note_until;
    for (int i = 0; i < MAX_CLIENTS; i++)
        if (helper->clients[i].fd >= 0 && helper->clients[i].until < until)
            until = helper->clients[i].until;
    if (until == UINT64_MAX)
        return -1;
    return until > now ? (int64_t)(until - now) : 0;
}

static void wait_for_events(struct helper *helper, struct pollfd *fds) {
    int64_t wait = next_wait(helper, kitsune__now_ns());
    struct timespec limit = {wait / (int64_t)SECOND, wait % (int64_t)SECOND};

    /* Without a free place clients wait in the queue until an idle one has been sent away. */
    fds[0] = (struct pollfd){free_place(helper) < 0 ? -1 : helper->listener, POLLIN, 0};
    fds[1] = (struct pollfd){helper->fetcher, POLLIN, 0};
    fds[2] = (struct pollfd){helper->orphan_since ? -1 : helper->speaker_fd, POLLIN, 0};
    for (int i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &helper->clients[i];
        /* Nothing is read that cannot be used: POLLHUP is reported anyway. */
        short wanted = client->used < sizeof client->line ? POLLIN | POLLRDHUP : POLLRDHUP;

        fds[3 + i] = (struct pollfd){client->closing ? -1 : client->fd, wanted, 0};
    }
    if (ppoll(fds, 3 + MAX_CLIENTS, wait < 0 ? NULL : &limit, NULL) < 0)
        for (int i = 0; i < 3 + MAX_CLIENTS; i++)
            fds[i].revents = 0;
}

static void serve_clients(struct helper *helper, const struct pollfd *fds) {
    uint64_t now = kitsune__now_ns();

    for (int i = 0; i < MAX_CLIENTS; i++) {
        struct client *client = &helper->clients[i];

        if (client->fd < 0)
            continue;
        if (fds[3 + i].fd == client->fd && fds[3 + i].revents)
            read_client(helper, i);
        serve_lines(helper, i);
        if (now >= client->until && !client->is_waiting)
            client->closing = 1;
        if (client->closing && !client->is_waiting)
            drop_client(helper, i);
    }
}

static void serve(struct helper *helper) __attribute__((noreturn));

static void serve(struct helper *helper) {
    struct pollfd fds[3 + MAX_CLIENTS];

    for (;;) {
        wait_for_events(helper, fds);
        if (!helper->orphan_since && speaker_has_ended(helper, fds[2].revents))
            become_orphan(helper);
        end_noting(helper);
        if (fds[1].revents)
            serve_fetch(helper);
        follow_flights(helper);
        follow_round(helper);
        if (helper->orphan_since) {
            if (helper->round.client < 0)
                look_after_children(helper);
            continue;
        }
        serve_clients(helper, fds);
        if (fds[0].revents)
            accept_client(helper);
    }
}

/* ---- start --------------------------------------------------------------------------------- */

/* Unmaps [start, end) but for what is kept. */
static void unmap_outside(const struct kitsune__kept *kept, uintptr_t start, uintptr_t end_) {
    while (start < end_) {
        uintptr_t next = end_, resume = end_;

        for (unsigned i = 0; i < kept->count; i++) {
            const struct kitsune__range *range = &kept->ranges[i];

            if (range->end > start && range->start < next) {
                next = range->start < start ? start : range->start;
                resume = range->end;
            }
        }
        if (next > start)
            munmap((void *)start, next - start);
        start = resume;
    }
}

/* Adds [start, end), widened to whole pages. The kernel shows neighbours as one mapping: what is needed
 * must be given exactly. */
static void keep(struct kitsune__kept *kept, uintptr_t start, uintptr_t end_) {
    uintptr_t page = kitsune__page_size();

    if (kept->count < sizeof kept->ranges / sizeof kept->ranges[0])
        kept->ranges[kept->count++] =
            (struct kitsune__range){start & ~(page - 1), (end_ + page - 1) & ~(page - 1)};
}

/* One line of /proc/self/maps: "start-end perms offset device inode name". */
static void give_back_mapping(const struct kitsune__kept *kept, const char *line) {
    uintptr_t bounds[2] = {0, 0};

    for (int i = 0; i < 2; i++, line++)
        for (; digit_value(*line) >= 0; line++)
            bounds[i] = bounds[i] << 4 | (uintptr_t)digit_value(*line);
    if (!strstr(line, "[v")) /* vdso, vvar, vsyscall */
        unmap_outside(kept, bounds[0], bounds[1]);
}

/* The copy of the program's memory is not needed; kept, it would double what the program writes. */
static void give_back_memory(struct helper *helper, struct kitsune__kept *kept) {
    if (kitsune__under_tsan()) /* its memory is that of every call that it stands in for */
        return;
    char *text = helper->answer;
    size_t used = 0, size = sizeof helper->answer - 1;
    int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    uintptr_t stack = (uintptr_t)__builtin_frame_address(0);
    ssize_t got;

    if (maps < 0)
        return;
    keep(kept, (uintptr_t)helper, (uintptr_t)(helper + 1));
    keep(kept, (uintptr_t)helper->tree, (uintptr_t)kitsune__tree_end(helper->tree));
    keep(kept, stack - STACK_BELOW, stack + STACK_ABOVE); /* nothing returns beyond */
    while ((got = read(maps, text + used, size - used)) > 0) {
        char *line = text, *line_end;

        used += (size_t)got;
        text[used] = '\0';
        while ((line_end = strchr(line, '\n'))) {
            *line_end = '\0';
            give_back_mapping(kept, line);
            line = line_end + 1;
        }
        used -= (size_t)(line - text);
        memmove(text, line, used);
    }
    close(maps);
}

static void close_everything(void) {
    kitsune__close_all_but(-1);
    for (int fd = 0; fd < 3; fd++)
        if (open("/dev/null", O_RDWR) < 0)
            break;
}

/* Field `wanted` (from 1) of /proc/self/stat as a number; 0 if it cannot be read. */
static uintptr_t own_stat_field(const char *text, unsigned wanted) {
    const char *at = strrchr(text, ')');
    uintptr_t number = 0;

    for (unsigned field = 2; at && field < wanted; field++)
        at = strchr(at + 1, ' ');
    for (at = at ? at + 1 : ""; *at >= '0' && *at <= '9'; at++)
        number = number * 10 + (uintptr_t)(*at - '0');
    return number;
}

/* Shows what we are in the list of processes: else `pidof` and `ps` find the program twice. */
static void show_title(struct helper *helper) {
    char *text = helper->answer, title[64];
    uintptr_t start, end_;

    read_proc(getpid(), "stat", text, 4096);
    start = own_stat_field(text, 48);
    end_ = own_stat_field(text, 49);
    if (!start || end_ <= start)
        return;
    kitsune__format(title, sizeof title, "kitsune-helper of %d", helper->root);
    if (end_ - start <= strlen(title))
        title[end_ - start - 1] = '\0';
    memset((char *)start, 0, end_ - start);
    memcpy((char *)start, title, strlen(title));
}

static void become_a_process_of_its_own(void) {
    struct rlimit no_core = {0, 0};

    close_everything();
    setsid(); /* signals to the program's group or terminal are not meant for us */
    prctl(PR_SET_NAME, "kitsune-helper");
    prctl(PR_SET_PDEATHSIG, 0);
    setrlimit(RLIMIT_CORE, &no_core);
    umask(077);
    if (chdir("/") < 0)
        end();
}

/* A request that a helper before this one left behind has nobody who waits for it. */
static void drop_leftovers(struct kitsune__control *control) {
    stop_noting(control);
    if (control->owner == 0 || control->origin == KITSUNE__FROM_INSIDE)
        return;
    end_rehearsal(control, KITSUNE__IDLE);
    drop_outcome(control);
    withdraw(control, KITSUNE__NOT_REACHED, "the helper process that waited for it died");
    move_state(control, KITSUNE__CHECKING, KITSUNE__IDLE);
}

static void report_ready(struct kitsune__tree *tree, uint32_t ready) {
    tree->ready = ready;
    syscall(SYS_futex, &tree->ready, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void start_serving(struct helper *helper) {
    struct kitsune__tree *tree = helper->tree;

    if (!listen_anywhere(helper)) {
        report_ready(tree, KITSUNE__FAILED);
        end();
    }
    if (listen_for_fetch(helper) < 0) {
        kitsune__format(tree->failure, sizeof tree->failure, "no abstract socket: %s",
                        strerrordesc_np(errno));
        remove_socket(helper);
        report_ready(tree, KITSUNE__FAILED);
        end();
    }
    report_ready(tree, KITSUNE__LISTENING);
}

void kitsune__helper_main(struct kitsune__tree *tree, struct kitsune__kept *kept) {
    struct helper *helper =
        mmap(NULL, sizeof *helper, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (helper == MAP_FAILED)
        end();
    tree->helper = (int32_t)getpid();
    helper->tree = tree;
    helper->user = geteuid();
    helper->root = tree->root;
    helper->adopted = tree->adopted;
    helper->speaker = place_of(helper, helper->root);
    if (!helper->speaker)
        end();
    helper->round.client = -1;
    helper->fetcher = helper->listener = helper->directory = -1;
    for (int i = 0; i < MAX_CLIENTS; i++)
        helper->clients[i].fd = -1;
    become_a_process_of_its_own();
    give_back_memory(helper, kept);
    show_title(helper);
    helper->speaker_fd = (int)syscall(SYS_pidfd_open, helper->root, 0);
    if (getppid() != helper->root)
        end();
    if (!tree->replacements)
        tree->filters = count_filters(helper->root);
    name_socket(helper);
    for (uint32_t i = 0; i < kitsune__tree_used(tree); i++)
        drop_leftovers(kitsune__tree_place(tree, i));
    start_serving(helper);
    serve(helper);
}
