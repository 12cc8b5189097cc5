/* What the helper tells of a process: what the kernel shows of it, and its history and state. */
#define _GNU_SOURCE
#include "helper.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform.h"
#include "stuck.h"

#define THREADS_SHOWN 64
#define NOTE_NS (SECOND / 5) /* how long update points tell that they are passed, after a status */

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

void kitsune__helper_read_proc(int32_t pid, const char *name, char *text, size_t size) {
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

char kitsune__helper_process_state(int32_t pid) {
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

int kitsune__helper_digit_value(char digit) {
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

/* How many filters of system calls the process has; UINT32_MAX for the strict mode. */
uint32_t kitsune__helper_count_filters(int32_t pid) {
    char text[4096];
    uint32_t mode;

    kitsune__helper_read_proc(pid, "status", text, sizeof text);
    mode = (uint32_t)kitsune__number_behind(text, "Seccomp:", 0);
    return mode == 1 ? UINT32_MAX
                     : (uint32_t)kitsune__number_behind(text, "Seccomp_filters:", mode);
}

/* Nobody can ask the kernel what a filter lets pass, and a call that it does not may end the process: so
 * the process is not even kicked. */
int kitsune__helper_is_filtered(struct helper *helper, const struct kitsune__control *control) {
    uint32_t filters = kitsune__helper_count_filters(control->owner);

    return filters == UINT32_MAX ||
           (filters > helper->tree->filters && !helper->tree->may_be_filtered);
}

static int blocks_kick(int32_t pid) {
    char text[4096], *at;
    uint64_t mask = 0;

    kitsune__helper_read_proc(pid, "status", text, sizeof text);
    at = strstr(text, "SigBlk:\t");
    if (!at)
        return 0;
    for (at += 8; kitsune__helper_digit_value(*at) >= 0; at++)
        mask = mask << 4 | (uint64_t)kitsune__helper_digit_value(*at);
    return mask >> (SIGURG - 1) & 1;
}

/* "it is sleeping in read, ...": returns the length. */
size_t kitsune__helper_describe(int32_t pid, char *text, size_t size) {
    char wchan[64];
    const char *call = blocking_call(pid);
    size_t used =
        kitsune__format(text, size, "it is %s", state_name(kitsune__helper_process_state(pid)));

    kitsune__helper_read_proc(pid, "wchan", wchan, sizeof wchan);
    if (call)
        used += kitsune__format(text + used, size - used, " in %s", call);
    if (wchan[0] && wchan[0] != '0')
        used += kitsune__format(text + used, size - used, " (kernel: %s)", wchan);
    if (blocks_kick(pid))
        used += kitsune__format(text + used, size - used, " and blocks SIGURG");
    return used;
}

/* ---- the history and the state ------------------------------------------------------------- */

int kitsune__helper_move_state(struct kitsune__control *control, uint32_t from, uint32_t to) {
    return atomic_compare_exchange_strong(&control->state, &from, to);
}

/* Remembers a request that ended without the program. For the holder of the request. */
void kitsune__helper_note_unheard(struct kitsune__control *control, uint32_t code,
                                  const char *reason) {
    struct kitsune__outcome outcome;

    if (control->is_rehearsal)
        return;
    memset(&outcome, 0, sizeof outcome);
    kitsune__format(outcome.code, sizeof outcome.code, "K%u", code);
    kitsune__format(outcome.reason, sizeof outcome.reason, "%s", reason);
    kitsune__control_note(control, &outcome);
}

static void put_past(struct helper *helper, const struct kitsune__past *past) {
    kitsune__answer_put(&helper->answer, "{");
    kitsune__answer_number(&helper->answer, "serial", past->serial);
    kitsune__answer_number(&helper->answer, "at", (uint64_t)past->at);
    kitsune__answer_text(&helper->answer, "outcome", past->committed ? "updated" : "failed", 64);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "from", past->from);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "to", past->to);
    if (past->committed) {
        kitsune__answer_number(&helper->answer, "pause_ns", past->pause_ns);
        kitsune__answer_number(&helper->answer, "objects", past->objects);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "old_image", past->old_image);
    } else {
        kitsune__answer_code(&helper->answer, past->code);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "reason", past->reason);
    }
    kitsune__answer_put(&helper->answer, "}");
}

static void put_history(struct helper *helper, const struct kitsune__control *control) {
    uint64_t count = control->past_count;
    uint64_t first = count > KITSUNE__HISTORY ? count - KITSUNE__HISTORY : 0;

    kitsune__answer_name(&helper->answer, "updates");
    kitsune__answer_put(&helper->answer, "[");
    for (uint64_t i = first; i < count; i++) {
        if (i > first)
            kitsune__answer_put(&helper->answer, ", ");
        put_past(helper, &control->past[i % KITSUNE__HISTORY]);
    }
    kitsune__answer_put(&helper->answer, "]");
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
    kitsune__answer_item(&helper->answer);
    kitsune__answer_number(&helper->answer, "tid", (uint64_t)tid);
    read_proc_of(path, "comm", name, sizeof name);
    length = strnlen(name, sizeof name);
    kitsune__answer_text(&helper->answer, "name", name,
                         length && name[length - 1] == '\n' ? length - 1 : length);
    kitsune__answer_text(&helper->answer, "state", state_name(process_state_of(path)), 64);
    call = blocking_call_of(path);
    if (call)
        kitsune__answer_text(&helper->answer, "call", call, 64);
    if (seen) {
        KITSUNE__ANSWER_ARRAY(&helper->answer, "point", seen->point);
        kitsune__answer_number(&helper->answer, "seen", (uint64_t)seen->at);
    }
    kitsune__answer_put(&helper->answer, "}");
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
    kitsune__answer_name(&helper->answer, "threads");
    kitsune__answer_put(&helper->answer, "[");
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
    kitsune__answer_put(&helper->answer, "]");
    kitsune__answer_number(&helper->answer, "thread_count", count);
}

static void put_memory(struct helper *helper, const struct kitsune__control *control) {
    char text[4096];
    uint64_t old = 0;

    kitsune__helper_read_proc(control->owner, "status", text, sizeof text);
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++)
        if (memcmp(control->images[i].build_id, control->running.build_id, KITSUNE_BUILD_ID_SIZE) !=
            0)
            old += control->images[i].end - control->images[i].start;
    kitsune__answer_name(&helper->answer, "memory");
    kitsune__answer_put(&helper->answer, "{");
    kitsune__answer_number(&helper->answer, "resident_kb",
                           kitsune__number_behind(text, "VmRSS:", 0));
    kitsune__answer_number(&helper->answer, "own_kb", kitsune__number_behind(text, "RssAnon:", 0));
    kitsune__answer_number(&helper->answer, "old_images_kb", old / 1024);
    kitsune__answer_put(&helper->answer, "}");
}

/* The next one that asks learns which points were passed meanwhile. Not of a process with a filter, which
 * would make system calls for it. */
static void have_points_noted(struct helper *helper, struct kitsune__control *control) {
    if (kitsune__helper_is_filtered(helper, control))
        return;
    __atomic_fetch_or(&kitsune__tree_gate(control)->pending, KITSUNE__PENDING_NOTE,
                      __ATOMIC_RELEASE);
    helper->note_until = kitsune__now_ns() + NOTE_NS;
}

void kitsune__helper_stop_noting(struct kitsune__control *control) {
    if (control->owner != 0)
        __atomic_fetch_and(&kitsune__tree_gate(control)->pending, ~(uint32_t)KITSUNE__PENDING_NOTE,
                           __ATOMIC_RELEASE);
}

void kitsune__helper_end_noting(struct helper *helper) {
    if (!helper->note_until || kitsune__now_ns() < helper->note_until)
        return;
    helper->note_until = 0;
    for (uint32_t i = 0; i < kitsune__tree_capacity(); i++)
        kitsune__helper_stop_noting(kitsune__tree_place(helper->tree, i));
}

static void put_holders(struct helper *helper, const struct kitsune__held *held) {
    kitsune__answer_name(&helper->answer, "first");
    kitsune__answer_put(&helper->answer, "[");
    for (uint64_t i = 0; i < held->words && i < KITSUNE__HOLDERS; i++) {
        const struct kitsune__holder *holder = &held->holders[i];

        kitsune__answer_put(&helper->answer, i ? ", {" : "{");
        kitsune__answer_number(&helper->answer, "at", holder->at);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "in", holder->place);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "to", holder->target);
        kitsune__answer_put(&helper->answer, "}");
    }
    kitsune__answer_put(&helper->answer, "]");
}

/* Why an image that ran before is still mapped. */
static void put_held(struct helper *helper, const struct kitsune__held *held) {
    static const char *const codes[] = {"runs", "redirected", "refused"};

    kitsune__answer_number(&helper->answer, "words", held->words);
    put_holders(helper, held);
    kitsune__answer_text(&helper->answer, "code", codes[held->code < 3 ? held->code : 0], 64);
    kitsune__answer_number(&helper->answer, "calls", held->calls);
}

static void put_images(struct helper *helper, const struct kitsune__control *control) {
    kitsune__answer_name(&helper->answer, "images");
    kitsune__answer_put(&helper->answer, "[");
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++) {
        const struct kitsune__mapped *image = &control->images[i];

        kitsune__answer_put(&helper->answer, i ? ", {" : "{");
        KITSUNE__ANSWER_ARRAY(&helper->answer, "version", image->version);
        kitsune__answer_hex(&helper->answer, "build_id", image->build_id, sizeof image->build_id);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "file", image->path);
        kitsune__answer_number(&helper->answer, "start", image->start);
        kitsune__answer_number(&helper->answer, "end", image->end);
        if (image->held.is_known)
            put_held(helper, &image->held);
        kitsune__answer_put(&helper->answer, "}");
    }
    kitsune__answer_put(&helper->answer, "]");
}

static const char *state_word(const struct kitsune__control *control) {
    static const char *const states[] = {"idle",    "checking", "requested", "updating",
                                         "updated", "ready",    "rehearsing"};
    uint32_t state = control->state;

    return states[state < 7 ? state : 0];
}

static void put_child(struct helper *helper, const struct kitsune__control *control) {
    kitsune__answer_put(&helper->answer, "{");
    kitsune__answer_number(&helper->answer, "pid", (uint64_t)control->owner);
    kitsune__answer_number(&helper->answer, "parent", (uint64_t)control->parent);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "version", control->running.version);
    kitsune__answer_number(&helper->answer, "since", (uint64_t)control->running_since);
    kitsune__answer_text(&helper->answer, "state", state_word(control), 64);
    kitsune__answer_put(&helper->answer, "}");
}

/* The other processes of the tree. */
static void put_children(struct helper *helper) {
    struct kitsune__left_out left_out;
    uint32_t count = 0;

    kitsune__answer_name(&helper->answer, "children");
    kitsune__answer_put(&helper->answer, "[");
    for (uint32_t i = 0; i < kitsune__tree_used(helper->tree); i++) {
        struct kitsune__control *control = kitsune__tree_place(helper->tree, i);

        if (control == helper->speaker || !kitsune__tree_owner(control))
            continue;
        kitsune__answer_put(&helper->answer, count++ ? ", " : "");
        put_child(helper, control);
    }
    kitsune__answer_put(&helper->answer, "]");
    kitsune__answer_number(&helper->answer, "left_out",
                           kitsune__tree_left_out(helper->tree, &left_out));
}

void kitsune__helper_answer_status(struct helper *helper, int index,
                                   struct kitsune__control *control) {
    kitsune__answer_begin(&helper->answer, "done");
    kitsune__answer_text(&helper->answer, "outcome", "status", 64);
    kitsune__answer_number(&helper->answer, "pid", (uint64_t)control->owner);
    kitsune__answer_number(&helper->answer, "helper", (uint64_t)getpid());
    kitsune__answer_number(&helper->answer, "uid", helper->user);
    kitsune__answer_number(&helper->answer, "interface", KITSUNE_ABI);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "program", control->running.program);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "version", control->running.version);
    kitsune__answer_hex(&helper->answer, "build_id", control->running.build_id,
                        sizeof control->running.build_id);
    kitsune__answer_hex(&helper->answer, "version_id", control->running.version_id,
                        sizeof control->running.version_id);
    kitsune__answer_number(&helper->answer, "started", (uint64_t)control->started);
    kitsune__answer_number(&helper->answer, "since", (uint64_t)control->running_since);
    kitsune__answer_text(&helper->answer, "state", state_word(control), 64);
    put_memory(helper, control);
    put_threads(helper, control);
    put_images(helper, control);
    put_history(helper, control);
    if (control == helper->speaker)
        put_children(helper);
    else
        kitsune__answer_number(&helper->answer, "parent", (uint64_t)control->parent);
    kitsune__helper_send(helper, index);
    have_points_noted(helper, control);
}

/* ---- what kept an update from being made ----------------------------------------------------- */

static void member_release(struct helper *helper, const struct kitsune__control *control,
                           const uint8_t *build_id) {
    if (memcmp(control->release.build_id, build_id, KITSUNE_BUILD_ID_SIZE) == 0)
        KITSUNE__ANSWER_ARRAY(&helper->answer, "release", control->path);
    for (uint32_t i = 0; i < control->image_count && i < KITSUNE__IMAGES; i++)
        if (memcmp(control->images[i].build_id, build_id, KITSUNE_BUILD_ID_SIZE) == 0) {
            KITSUNE__ANSWER_ARRAY(&helper->answer, "release", control->images[i].path);
            return;
        }
}

static void member_trace(struct helper *helper, const struct kitsune__control *control,
                         const char *name, const struct kitsune__trace *trace) {
    kitsune__answer_name(&helper->answer, name);
    kitsune__answer_put(&helper->answer, "[");
    for (uint32_t i = 0; i < trace->count && i < KITSUNE__FRAMES; i++) {
        const struct kitsune__frame *frame = &trace->frames[i];

        kitsune__answer_put(&helper->answer, i ? ", {" : "{");
        KITSUNE__ANSWER_ARRAY(&helper->answer, "function", frame->function);
        kitsune__answer_number(&helper->answer, "offset", frame->offset);
        kitsune__answer_hex(&helper->answer, "build_id", frame->build_id, sizeof frame->build_id);
        member_release(helper, control, frame->build_id);
        kitsune__answer_put(&helper->answer, "}");
    }
    kitsune__answer_put(&helper->answer, "]");
}

static void put_stuck(struct helper *helper, const struct kitsune__control *control,
                      const struct kitsune__stuck *stuck) {
    kitsune__answer_put(&helper->answer, "{");
    kitsune__answer_number(&helper->answer, "tid", (uint64_t)stuck->tid);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "name", stuck->name);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "does", stuck->does);
    KITSUNE__ANSWER_ARRAY(&helper->answer, "point", stuck->point);
    member_trace(helper, control, "stack", &stuck->trace);
    if (stuck->holder != 0) {
        kitsune__answer_name(&helper->answer, "holder");
        kitsune__answer_put(&helper->answer, "{");
        kitsune__answer_number(&helper->answer, "tid", (uint64_t)stuck->holder);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "name", stuck->holder_name);
        KITSUNE__ANSWER_ARRAY(&helper->answer, "point", stuck->holder_point);
        member_trace(helper, control, "stack", &stuck->holder_trace);
        kitsune__answer_put(&helper->answer, "}");
    }
    kitsune__answer_put(&helper->answer, "}");
}

/* What is known besides the reason: the threads that did not come, or where the new version failed. */
void kitsune__helper_put_report(struct helper *helper, const struct kitsune__control *control) {
    const struct kitsune__report *report = &control->report;

    if (report->thread_count) {
        kitsune__answer_name(&helper->answer, "threads");
        kitsune__answer_put(&helper->answer, "[");
        for (uint32_t i = 0; i < report->thread_count && i < KITSUNE__NAMED; i++) {
            kitsune__answer_put(&helper->answer, i ? ", " : "");
            put_stuck(helper, control, &report->threads[i]);
        }
        kitsune__answer_put(&helper->answer, "]");
    }
    if (report->crash.count)
        member_trace(helper, control, "stack", &report->crash);
}
