/*
 * A release written by hand, for the tests of the transaction: tables and plan as the front-end and
 * the generator would write them. Built twice, as "even" and "odd" (-DODD): each can follow the other,
 * so that a chain of updates has no end; list nodes have a field more in "odd" and are moved by every
 * update.
 *
 * It reads commands, one a line, from standard input and answers each with one line. `scenario PLACE
 * ACTION` (kept in the environment) says what the next version does at which place.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fenv.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kitsune.h>
#include <kitsune_release.h>

#ifdef ODD
#define NAME "odd"
#else
#define NAME "even"
#endif
#ifndef PROGRAM
#define PROGRAM "transaction"
#endif
#ifndef ABI
#define ABI KITSUNE_ABI
#endif
#ifndef PARENT_DIGEST
#define PARENT_DIGEST OTHER_DIGEST
#endif

#define NODES 1000
#define TABLE 5000

struct even_node {
    int value;
    struct even_node *next;
};
struct odd_node {
    int value;
    long extra;
    struct odd_node *next;
};

#ifdef ODD
typedef struct odd_node node;
typedef struct even_node old_node;
#define OWN_DIGEST 2
#define OTHER_DIGEST 1
#else
typedef struct even_node node;
typedef struct odd_node old_node;
#define OWN_DIGEST 1
#define OTHER_DIGEST 2
#endif

static node *list;
static unsigned table[TABLE];
static int updates;
static volatile int signals_seen;
static int atexit_marker;

/* ---- what goes wrong ------------------------------------------------------------------------- */

static volatile int zero;

static int overflow(int depth) {
    volatile char block[4096];
    block[0] = (char)depth;
    return depth < 0 ? 0 : overflow(depth + 1) + block[0];
}

static void spoil_old_state(void) {
    unsigned *old_table = kitsune_lookup_key_old("transaction_program.c/table");
    old_node **old_list = kitsune_lookup_key_old("transaction_program.c/list");
    int *old_updates = kitsune_lookup_key_old("transaction_program.c/updates");
    for (int i = 0; i < TABLE; i++)
        old_table[i] ^= 0x5a5a5a5a;
    for (old_node *at = *old_list; at; at = at->next)
        at->value = -1;
    *old_updates += 77;
}

static void free_old_list(void) {
    old_node **old_list = kitsune_lookup_key_old("transaction_program.c/list");
    for (old_node *at = *old_list, *next; at; at = next) {
        next = at->next;
        free(at);
    }
    for (int i = 0; i < 2 * NODES; i++)
        memset(malloc(sizeof(node)), 0xee, sizeof(node));
    *old_list = NULL;
}

static void use_all_memory(void) {
    struct rlimit limit = {400u << 20, 400u << 20};
    limit.rlim_max = RLIM_INFINITY;
    setrlimit(RLIMIT_AS, &limit);
    for (;;) {
        char *block = malloc(1 << 20);
        memset(block, 1, 1 << 20); /* crashes when there is no more, as careless programs do */
    }
}

static void smash_heap(void) {
    char *volatile block = malloc(24);
    memset(block, 0xff, 4096);
    for (int i = 0; i < 10000; i++)
        free(malloc((size_t)i * 100));
    abort();
}

static void close_everything(void) {
    for (int fd = 0; fd < 256; fd++)
        close(fd);
    open("/dev/null", O_RDWR);
    open("/dev/null", O_RDWR);
}

static void change_process(void) {
    sigset_t all;
    struct itimerval timer = {{0, 0}, {100, 0}};
    if (chdir("/") != 0)
        return;
    umask(0777);
    setenv("KT_PROBE", "changed", 1);
    setitimer(ITIMER_REAL, &timer, NULL);
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC);
    dup2(STDERR_FILENO, STDIN_FILENO);
}

static void remap(void) {
    unsigned *old_table = kitsune_lookup_key_old("transaction_program.c/table");
    uintptr_t page = (uintptr_t)(old_table + 1024) & ~(uintptr_t)4095;
    munmap((void *)page, 4096);
    mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (sbrk(1 << 20) == (void *)-1)
        return;
    page -= 4096;
    mprotect((void *)page, 4096, PROT_NONE);
}

static void loop_with_signals_blocked(void) {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (;;)
        zero = 0;
}

static void loop_in_malloc(void) {
    for (;;)
        free(malloc((size_t)(rand() % 100000)));
}

static void crash(void) {
    *(volatile int *)16 = 1;
}

/* ---- what the kernel keeps ------------------------------------------------------------------- */

/* Known to both versions: an epoll, two pipes that it watches, and a file mapped twice. */
#define EPOLL 60
#define FIRST_PIPE 61
#define SECOND_PIPE 63
#define NEW_PIPE 65
#define PRIVATE_MAP ((char *)0x7e0000000000)
#define SHARED_MAP ((char *)0x7e0000100000)
#define MAP_SIZE 16384

static void make_pipe(int number) {
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[0], number) < 0 || dup2(ends[1], number + 1) < 0)
        err(1, "pipe");
    close(ends[0]);
    close(ends[1]);
}

static void watch(int operation, int number, unsigned events, unsigned data) {
    struct epoll_event event = {events, {.u64 = data}};
    if (epoll_ctl(EPOLL, operation, number, &event) != 0)
        err(1, "epoll_ctl");
}

static void map_file(char *at, int flags, int fd) {
    if (mmap(at, MAP_SIZE, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0) != at)
        err(1, "mmap");
}

/* A private mapping of more than the file has: its last page cannot be read. */
static void use_kernel(void) {
    int epoll = epoll_create1(0), fd = memfd_create("mapped", 0);
    if (dup2(epoll, EPOLL) < 0 || ftruncate(fd, MAP_SIZE - 4096) != 0)
        err(1, "epoll");
    for (int i = 0; i < MAP_SIZE - 4096; i++)
        if (pwrite(fd, &(char){(char)(i * 7)}, 1, i) != 1)
            err(1, "pwrite");
    close(epoll);
    make_pipe(FIRST_PIPE);
    make_pipe(SECOND_PIPE);
    watch(EPOLL_CTL_ADD, FIRST_PIPE, EPOLLIN, 1001);
    watch(EPOLL_CTL_ADD, SECOND_PIPE, EPOLLIN | EPOLLET, 1002);
    map_file(PRIVATE_MAP, MAP_PRIVATE, fd);
    map_file(SHARED_MAP, MAP_SHARED, fd);
    PRIVATE_MAP[5000] = 'x';
    close(fd);
}

static unsigned long kernel_sum(void) {
    unsigned long sum = 0;
    for (int i = 0; i < MAP_SIZE - 4096; i++)
        sum = sum * 31 + (unsigned char)PRIVATE_MAP[i] + 7 * (unsigned char)SHARED_MAP[i];
    return sum;
}

static void print_watches(void) {
    char line[256], path[64];
    unsigned descriptor, events;
    unsigned long data;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", EPOLL);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "tfd: %u events: %x data: %lx", &descriptor, &events, &data) == 3)
            printf(" %u:%x:%lu", descriptor, events, data);
    if (file)
        fclose(file);
}

static void change_flags(void) {
    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    ioctl(FIRST_PIPE, FIONBIO, &(int){1});
    /* A file of the new version under an old number is none of the old one's. */
    dup2(open("/dev/null", O_RDWR | O_APPEND), SECOND_PIPE);
    fcntl(SECOND_PIPE, F_SETFL, O_APPEND | O_NONBLOCK);
}

static void change_watches(void) {
    watch(EPOLL_CTL_MOD, FIRST_PIPE, EPOLLIN | EPOLLOUT, 7);
    watch(EPOLL_CTL_DEL, SECOND_PIPE, 0, 0);
    make_pipe(NEW_PIPE);
    watch(EPOLL_CTL_ADD, NEW_PIPE, EPOLLIN, 9);
    if (fork() == 0) { /* keeps the new pipe open, and so its watch alive */
        sleep(2);
        _exit(0);
    }
}

static void replace_epoll(void) {
    dup2(epoll_create1(0), EPOLL);
    make_pipe(NEW_PIPE);
    watch(EPOLL_CTL_ADD, NEW_PIPE, EPOLLIN, 9);
}

static void run_out(int is_kernel_timer) {
    struct itimerval soon = {{0, 0}, {0, 10000}};
    struct itimerspec soon_too = {{0, 0}, {0, 10000000}};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timer;
    if (is_kernel_timer && timer_create(CLOCK_MONOTONIC, &event, &timer) == 0)
        timer_settime(timer, 0, &soon_too, NULL);
    else
        setitimer(ITIMER_REAL, &soon, NULL);
}

static void start_by_vfork(int executes) {
    pid_t child = vfork();
    if (child == 0) {
        if (executes)
            execl("/bin/sh", "sh", "-c", "exit 0", (char *)NULL);
        _exit(7);
    }
    waitpid(child, NULL, 0);
}

/* A signal waits for the outcome also where a call would let it in. */
static void let_signals_in(void) {
    struct timespec limit = {0, 20000000};
    struct epoll_event event;
    sigset_t none;
    sigemptyset(&none);
    kill(getpid(), SIGUSR1);
    if (ppoll(NULL, 0, &limit, &none) < 0 || pselect(0, NULL, NULL, NULL, &limit, &none) < 0 ||
        epoll_pwait(epoll_create1(0), &event, 1, 20, &none) < 0)
        exit(4);
}

static void *run_thread(void *argument) {
    return argument;
}

static void start_thread(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run_thread, NULL) == 0)
        pthread_join(thread, NULL);
}

/* As a program does that wants no descriptor but its own; the numbers are used again. */
static void take_descriptors(void) {
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    for (int i = 0; i < 20; i++)
        open("/dev/null", O_RDWR);
}

/* ---- timers ---------------------------------------------------------------------------------- */

#define RUNNING_TIMER 70 /* descriptors */
#define EXPIRED_TIMER 71

/* Those of timer_create, by number; the first release says which. */
static void find_timers(timer_t *timers) {
    const char *text = getenv("KT_TIMERS");
    unsigned long numbers[2] = {0, 0};
    if (text && sscanf(text, "%lx %lx", &numbers[0], &numbers[1]) == 2)
        for (int i = 0; i < 2; i++)
            timers[i] = (timer_t)numbers[i];
}

static void set_descriptor(int wanted, const struct itimerspec *value) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer < 0 || timerfd_settime(timer, 0, value, NULL) != 0 || dup2(timer, wanted) != wanted)
        err(1, "timerfd");
    close(timer);
}

/* Two timers, of which one runs, and two descriptors, of which one has run out. */
static void make_timers(void) {
    struct sigevent nothing = {.sigev_notify = SIGEV_NONE};
    struct itimerspec late = {{7, 0}, {1000, 0}}, soon = {{0, 0}, {0, 1}};
    struct pollfd expired = {EXPIRED_TIMER, POLLIN, 0};
    char text[64];
    timer_t timers[2];
    for (int i = 0; i < 2; i++)
        if (timer_create(CLOCK_MONOTONIC, &nothing, &timers[i]) != 0)
            err(1, "timer_create");
    timer_settime(timers[0], 0, &late, NULL);
    set_descriptor(RUNNING_TIMER, &late);
    set_descriptor(EXPIRED_TIMER, &soon);
    poll(&expired, 1, -1);
    snprintf(text, sizeof text, "%lx %lx", (unsigned long)timers[0], (unsigned long)timers[1]);
    setenv("KT_TIMERS", text, 1);
}

static void print_timer(int error, const struct itimerspec *value) {
    long left = (long)value->it_value.tv_sec;
    if (error)
        printf("none ");
    else
        printf("%s/%ld ",
               left > 500 ? "late"
               : left > 1 ? "soon"
               : left     ? "1"
                          : "0",
               (long)value->it_interval.tv_sec);
}

static void print_timers(void) {
    struct pollfd descriptors[] = {{RUNNING_TIMER, POLLIN, 0}, {EXPIRED_TIMER, POLLIN, 0}};
    struct itimerspec value;
    timer_t timers[2];
    find_timers(timers);
    for (int i = 0; i < 2; i++)
        print_timer(timer_gettime(timers[i], &value), &value);
    for (int i = 0; i < 2; i++)
        print_timer(timerfd_gettime(descriptors[i].fd, &value), &value);
    poll(descriptors, 2, 0);
    printf("%d %d\n", descriptors[0].revents, descriptors[1].revents);
}

/* As a new version does that has other times: one timer is stopped, the other one deleted. */
static void change_timers(void) {
    struct itimerspec soon = {{9, 0}, {100, 0}}, never = {{0, 0}, {0, 0}};
    timer_t timers[2], own;
    find_timers(timers);
    timer_settime(timers[0], 0, &soon, NULL);
    timer_delete(timers[1]);
    timerfd_settime(RUNNING_TIMER, 0, &never, NULL);
    timerfd_settime(EXPIRED_TIMER, 0, &soon, NULL);
    for (int i = 0; i < 40; i++) /* more than a rollback could delete */
        if (timer_create(CLOCK_MONOTONIC, NULL, &own) != 0 || timer_delete(own) != 0)
            exit(4);
}

static void on_timer(union sigval value) {
    (void)value;
}

static void make_timer_that_starts_threads(void) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_timer};
    timer_t timer;
    timer_create(CLOCK_MONOTONIC, &event, &timer);
}

/* A fault of each kind, by name. */
static void act(const char *action) {
    if (!strcmp(action, "segv"))
        crash();
    else if (!strcmp(action, "write_and_segv"))
        spoil_old_state(), crash();
    else if (!strcmp(action, "free_and_segv"))
        free_old_list(), crash();
    else if (!strcmp(action, "bus")) {
        int fd = memfd_create("short", 0);
        char *at = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
        zero = *(volatile char *)at;
    } else if (!strcmp(action, "fpe"))
        zero = 7 / zero;
    else if (!strcmp(action, "ill"))
        __builtin_trap();
    else if (!strcmp(action, "abort"))
        abort();
    else if (!strcmp(action, "smash_heap"))
        smash_heap();
    else if (!strcmp(action, "overflow"))
        overflow(0);
    else if (!strcmp(action, "loop"))
        for (;;)
            zero = 0;
    else if (!strcmp(action, "loop_blocked"))
        loop_with_signals_blocked();
    else if (!strcmp(action, "loop_malloc"))
        loop_in_malloc();
    else if (!strcmp(action, "nap"))
        sleep(3);
    else if (!strcmp(action, "sleep"))
        sleep(100);
    else if (!strcmp(action, "exit"))
        exit(3);
    else if (!strcmp(action, "_exit"))
        _exit(3);
    else if (!strcmp(action, "quick_exit"))
        quick_exit(3);
    else if (!strcmp(action, "errx"))
        errx(3, "cannot go on");
    else if (!strcmp(action, "daemon"))
        zero = daemon(1, 1);
    else if (!strcmp(action, "exec"))
        execl("/bin/echo", "echo", "replaced", (char *)NULL);
    else if (!strcmp(action, "execvp"))
        execlp("echo", "echo", "replaced", (char *)NULL);
    else if (!strcmp(action, "execve"))
        execle("/bin/echo", "echo", "replaced", (char *)NULL, environ);
    else if (!strcmp(action, "thread"))
        start_thread();
    else if (!strcmp(action, "flags"))
        change_flags(), crash();
    else if (!strcmp(action, "watches"))
        change_watches(), crash();
    else if (!strcmp(action, "epoll"))
        replace_epoll(), crash();
    else if (!strcmp(action, "unmap"))
        munmap(PRIVATE_MAP, 4096), munmap(PRIVATE_MAP + 8192, 8192), crash();
    else if (!strcmp(action, "unmap_shared"))
        munmap(SHARED_MAP, MAP_SIZE), crash();
    else if (!strcmp(action, "alarm"))
        run_out(0), sleep(100);
    else if (!strcmp(action, "timer"))
        run_out(1), sleep(100);
    else if (!strcmp(action, "retime"))
        change_timers(), crash();
    else if (!strcmp(action, "retime_well"))
        change_timers();
    else if (!strcmp(action, "timer_thread"))
        make_timer_that_starts_threads();
    else if (!strcmp(action, "vfork"))
        start_by_vfork(0), crash();
    else if (!strcmp(action, "vfork_exec"))
        start_by_vfork(1), crash();
    else if (!strcmp(action, "let_signals_in"))
        let_signals_in(), crash();
    else if (!strcmp(action, "take_descriptors"))
        take_descriptors();
    else if (!strcmp(action, "memory"))
        use_all_memory();
    else if (!strcmp(action, "close"))
        close_everything(), crash();
    else if (!strcmp(action, "process"))
        change_process(), crash();
    else if (!strcmp(action, "remap"))
        remap(), crash();
    else if (!strcmp(action, "fork")) {
        if (fork() == 0)
            _exit(0);
        crash();
    } else if (!strcmp(action, "sigpipe")) {
        int ends[2];
        if (pipe(ends) == 0 && close(ends[0]) == 0 && write(ends[1], "x", 1) < 0)
            crash();
    }
}

static void maybe_act(const char *place) {
    const char *scenario = getenv("KT_SCENARIO");
    size_t length = strlen(place);
    if (scenario && !strncmp(scenario, place, length) && scenario[length] == ' ')
        act(scenario + length + 1);
}

__attribute__((constructor)) static void constructor(void) {
    maybe_act("constructor");
}

/* ---- tables and plan ------------------------------------------------------------------------- */

static void on_usr1(int number) {
    (void)number;
    signals_seen++;
}

static void at_the_end(void) {
    printf("%s ends %d\n", NAME, atexit_marker);
    fflush(stdout);
}

#define SYMBOL(identifier, key, value, size, flags)                                                \
    static const struct kitsune_symbol symbol_##identifier                                         \
        __attribute__((used, aligned(8), section("kitsune_symbols"))) = {key, value, size, flags,  \
                                                                         0}
SYMBOL(list, "transaction_program.c/list", &list, sizeof list, KITSUNE_SYMBOL_VARIABLE);
SYMBOL(table, "transaction_program.c/table", table, sizeof table, KITSUNE_SYMBOL_VARIABLE);
SYMBOL(updates, "transaction_program.c/updates", &updates, sizeof updates, KITSUNE_SYMBOL_VARIABLE);
SYMBOL(signals_seen, "transaction_program.c/signals_seen", (const void *)&signals_seen,
       sizeof signals_seen, KITSUNE_SYMBOL_VARIABLE);
SYMBOL(on_usr1, "transaction_program.c/on_usr1", on_usr1, 0, KITSUNE_SYMBOL_FUNCTION);
SYMBOL(at_the_end, "transaction_program.c/at_the_end", at_the_end, 0, KITSUNE_SYMBOL_FUNCTION);
#ifdef ODD
static void on_usr2(int number) {
    (void)number;
}
SYMBOL(on_usr2, "transaction_program.c/on_usr2", on_usr2, 0, KITSUNE_SYMBOL_FUNCTION);
#endif

static const struct kitsune_type node_type;

static void visit_node(struct kitsune_xf *xf, const void *in) {
    kitsune__launcher->object(xf, ((const old_node *)in)->next, &node_type);
}

static void transform_node(struct kitsune_xf *xf, const void *in, void *out) {
    const old_node *old = in;
    node *new = out;
    new->value = old->value;
    new->next = kitsune__launcher->object(xf, old->next, &node_type);
}

static const struct kitsune_type node_type = {.name = "struct node",
                                              .old_size = sizeof(old_node),
                                              .new_size = sizeof(node),
                                              .new_align = _Alignof(node),
                                              .how = KITSUNE_MOVE,
                                              .visit = visit_node,
                                              .transform = transform_node};
static const struct kitsune_type list_type = {.name = "struct node *",
                                              .old_size = sizeof list,
                                              .new_size = sizeof list,
                                              .new_align = 8,
                                              .how = KITSUNE_MOVE};
static const struct kitsune_type table_type = {.name = "unsigned[]",
                                               .old_size = sizeof table,
                                               .new_size = sizeof table,
                                               .new_align = 4,
                                               .how = KITSUNE_MOVE};
static const struct kitsune_type int_type = {
    .name = "int", .old_size = 4, .new_size = 4, .new_align = 4, .how = KITSUNE_MOVE};

static int migrate_list(struct kitsune_xf *xf, const void *in, void *out) {
    maybe_act("rule");
    if (getenv("KT_SCENARIO") && !strcmp(getenv("KT_SCENARIO"), "rule fail"))
        kitsune__launcher->fail(xf, "the list cannot be had");
    *(node **)out = kitsune__launcher->object(xf, *(old_node *const *)in, &node_type);
    return 1;
}

#define KEY "transaction_program.c/"
static const struct kitsune_migration migrations[] = {
    {KEY "list", KEY "list", &list_type, migrate_list, KITSUNE_MIGRATION_AUTO, 0},
    {KEY "table", KEY "table", &table_type, NULL, KITSUNE_MIGRATION_AUTO, 0},
    {KEY "updates", KEY "updates", &int_type, NULL, KITSUNE_MIGRATION_AUTO, 0},
    {KEY "signals_seen", KEY "signals_seen", &int_type, NULL, KITSUNE_MIGRATION_AUTO, 0},
};

static void prestart(void) {
    maybe_act("prestart");
}

static void mainupdate(void) {
    maybe_act("mainupdate");
}

static const struct kitsune_plan plan = {.abi = KITSUNE_ABI,
                                         .size = sizeof plan,
                                         .old_layout_digest = PARENT_DIGEST,
                                         .migrations = migrations,
                                         .migration_count = 4,
                                         .prestart = prestart,
                                         .mainupdate = mainupdate};

__attribute__((used,
               section(KITSUNE_IDENTITY_SECTION))) static const struct kitsune_identity identity = {
    .magic = KITSUNE_MAGIC,
    .abi = ABI,
    .size = sizeof identity,
    .program = PROGRAM,
    .version = NAME,
    .parent_count = 1,
    .parents = {{PARENT}}};

#ifndef PLAN
#define PLAN &plan
#endif
KITSUNE_DEFINE_RELEASE(&identity, OWN_DIGEST, PLAN);

/* ---- the program ----------------------------------------------------------------------------- */

static void fill(void) {
    for (int i = 0; i < NODES; i++) {
        node *new = calloc(1, sizeof *new);
        new->value = i * 7;
        new->next = list;
        list = new;
    }
    for (int i = 0; i < TABLE; i++)
        table[i] = (unsigned)i * 2654435761u;
}

/* Over everything that the program calls its state, and what the kernel keeps for it. */
static unsigned long checksum(void) {
    unsigned long sum = 5381;
    char directory[256] = "";
    struct itimerval timer;
    struct sigaction action;
    sigset_t mask;
    mode_t bits = umask(0);
    umask(bits);
    for (node *at = list; at; at = at->next)
        sum = sum * 33 + (unsigned)at->value;
    for (int i = 0; i < TABLE; i++)
        sum = sum * 33 + table[i];
    for (const char *text = getcwd(directory, sizeof directory); text && *text; text++)
        sum = sum * 33 + (unsigned char)*text;
    for (const char *text = getenv("KT_PROBE"); text && *text; text++)
        sum = sum * 33 + (unsigned char)*text;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    for (int number = 1; number < 32; number++) {
        sigaction(number, NULL, &action);
        sum = sum * 33 + (unsigned)(sigismember(&mask, number) == 1) * 3 +
              (unsigned)(action.sa_handler == SIG_IGN) + (action.sa_handler == on_usr1) * 2u;
    }
    getitimer(ITIMER_REAL, &timer);
    sum = sum * 33 + (timer.it_value.tv_sec != 0);
    sum = sum * 33 + (unsigned)fcntl(STDIN_FILENO, F_GETFD);
    sum = sum * 33 + (unsigned)fegetround();
    return sum * 33 + bits;
}

static int count_descriptors(void) {
    int count = 0;
    for (int fd = 0; fd < 4096; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static long resident_kib(void) {
    long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &ignored, &pages) != 2)
        pages = -1;
    if (file)
        fclose(file);
    return pages * 4;
}

static int count_mappings(void) {
    int count = 0, character;
    FILE *file = fopen("/proc/self/maps", "r");
    while (file && (character = getc(file)) != EOF)
        count += character == '\n';
    if (file)
        fclose(file);
    return count;
}

/* So much that a copy of the process takes its time. */
static int grow(void) {
    size_t size = (size_t)512 << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 0;
    madvise(memory, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size; at += 4096)
        memory[at] = 1;
    return 1;
}

static void answer(char *line) {
    char place[64] = "", action[64] = "";
    line[strcspn(line, "\n")] = '\0';
    if (!strncmp(line, "update ", 7)) {
        kitsune_set_next_version(strdup(line + 7));
        kitsune_signal_update();
        printf("asked\n");
    } else if (sscanf(line, "scenario %63s %63[^\n]", place, action) == 2) {
        char text[160];
        snprintf(text, sizeof text, "%s %s", place, action);
        setenv("KT_SCENARIO", text, 1);
        printf("noted\n");
    } else if (!strcmp(line, "clear")) {
        unsetenv("KT_SCENARIO");
        printf("cleared\n");
    } else if (!strcmp(line, "sum")) {
        printf("%s %d %lx %d\n", NAME, (int)getpid(), checksum(), updates);
    } else if (!strcmp(line, "grow")) {
        printf("%s\n", grow() ? "grown" : "not grown");
    } else if (!strcmp(line, "use timers")) {
        make_timers();
        printf("used\n");
    } else if (!strcmp(line, "timers")) {
        print_timers();
    } else if (!strcmp(line, "use kernel")) {
        use_kernel();
        printf("used\n");
    } else if (!strcmp(line, "kernel")) {
        printf("%lx %x %x %x", kernel_sum(), fcntl(STDIN_FILENO, F_GETFL),
               fcntl(FIRST_PIPE, F_GETFL), fcntl(SECOND_PIPE, F_GETFL));
        print_watches();
        printf("\n");
    } else if (!strcmp(line, "signals")) {
        printf("%d\n", signals_seen);
    } else if (!strcmp(line, "resources")) {
        printf("%ld %d %d\n", resident_kib(), count_mappings(), count_descriptors());
    } else if (!strcmp(line, "wait")) {
        printf("%d\n", (int)waitpid(-1, NULL, WNOHANG) < 0 ? errno == ECHILD : 0);
    } else if (!strcmp(line, "quit")) {
        exit(0);
    } else {
        printf("what?\n");
    }
    fflush(stdout);
}

/* As servers do that are started by root. */
static void drop_privileges(void) {
    if (setresgid(65534, 65534, 65534) != 0 || setresuid(65534, 65534, 65534) != 0)
        err(1, "cannot drop privileges");
}

static void enter_chroot(const char *directory) {
    if (chroot(directory) != 0 || chdir("/") != 0)
        err(1, "cannot enter %s", directory);
    drop_privileges();
}

int main(int argc, char **argv) {
    static char line[4096];
    static size_t length;
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "round-up"))
        fesetround(FE_UPWARD);
    else if (!strcmp(mode, "drop") && !kitsune_is_updating())
        drop_privileges();
    else if (!strcmp(mode, "chroot") && !kitsune_is_updating())
        enter_chroot(argv[2]);
#ifdef ODD
    signal(SIGUSR2, on_usr2);
#endif
    maybe_act("main");
    signal(SIGUSR1, on_usr1);
    atexit(at_the_end);
    if (getenv("KT_SCENARIO") && !strcmp(getenv("KT_SCENARIO"), "main return"))
        return 5;
    if (!kitsune_is_updating())
        fill();
    kitsune_do_automigrate();
    maybe_act("migrated");
    if (kitsune_is_updating())
        updates++;
    atexit_marker = updates;
    for (;;) {
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        kitsune_update("other"); /* points of other names return at once */
        kitsune_update("main");
        if (poll(&input, 1, -1) <= 0)
            continue;
        ssize_t got = read(STDIN_FILENO, line + length, sizeof line - 1 - length);
        if (got <= 0)
            return 0;
        length += (size_t)got;
        line[length] = '\0';
        char *end;
        while ((end = strchr(line, '\n')) != NULL) {
            char command[4096];
            size_t taken = (size_t)(end - line) + 1;
            memcpy(command, line, taken);
            command[taken] = '\0';
            memmove(line, line + taken, length - taken + 1);
            length -= taken;
            answer(command);
        }
    }
}
