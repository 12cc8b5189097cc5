/*
 * Ways in which a new version goes wrong, by name; fail.h has the plainest. Those called `after_…` make
 * a mess first and then crash: what they did must be undone.
 */
#ifndef WAYS_H
#define WAYS_H

#include <assert.h>
#include <err.h>
#include <error.h>
#include <libgen.h>
#include <link.h>
#include <linux/futex.h>
#include <locale.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <search.h>
#include <semaphore.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>

#define PAGE 4096ul
#define MANY 200

static void crash(void)
{
    *(volatile int *)16 = 1;
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void call_null(void)
{
    void (*volatile nowhere)(void) = NULL;

    nowhere();
}

static void jump_wild(void)
{
    void (*volatile nowhere)(void) = (void (*)(void))0x123456789000;

    nowhere();
}

static void write_beyond_addresses(void)
{
    *(volatile int *)0x8000000000000000ul = 1;
}

static void write_constant(void)
{
    static const char constant[] E_MANUAL_MIGRATE = "constant";
    char *volatile at = (char *)constant;

    *at = 'x';
}

static void run_data(void)
{
    static unsigned char code[] E_MANUAL_MIGRATE = {0xc3};
    void (*volatile data)(void) = (void (*)(void))(void *)code;

    data();
}

static void privileged(void)
{
    __asm__ volatile("hlt");
}

static void trap(void)
{
    __asm__ volatile("int3");
}

static void raise_sys(void)
{
    raise(SIGSYS);
}

static void raise_segv(void)
{
    raise(SIGSEGV);
}

static void fail_assertion(void)
{
    assert(fail_zero);
}

static void smash_stack(void)
{
    volatile char here[8];
    volatile char *volatile at = here;

    for (size_t i = 0; i < 64 + sizeof here; i++)
        at[i] = 0x41;
}

static void jump_over_guard(void)
{
    volatile char *volatile here = (volatile char *)__builtin_frame_address(0);

    here[-(1l << 30)] = 1;
}

extern void __stack_chk_fail(void);

static void overrun_checked_buffer(void)
{
    char here[8];
    volatile size_t size = 64;

    __builtin___memset_chk(here, 1, size, sizeof here);
    fail_zero += ((volatile char *)here)[0];
}

static void overrun_checked_text(void)
{
    char here[8];
    const char *volatile from = "much longer than that";

    __builtin___strcpy_chk(here, from, sizeof here);
    fail_zero += ((volatile char *)here)[0];
}

static void jump_by_garbage(void)
{
    jmp_buf garbage;

    memset(garbage, 0x55, sizeof garbage);
    longjmp(garbage, 1);
}

static int crash_in_walk(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)info, (void)size, (void)argument;
    crash();
    return 0;
}

static void crash_with_linkers_lock(void)
{
    dl_iterate_phdr(crash_in_walk, NULL);
}

static int crash_in_comparison(const void *one, const void *other)
{
    (void)one, (void)other;
    crash();
    return 0;
}

static void crash_in_sort(void)
{
    int numbers[] = {3, 2, 1};

    qsort(numbers, 3, sizeof *numbers, crash_in_comparison);
}

static void crash_in_once(void)
{
    static pthread_once_t once E_MANUAL_MIGRATE = PTHREAD_ONCE_INIT;

    pthread_once(&once, crash);
}

static void crash_in_atfork(void)
{
    pthread_atfork(crash, NULL, NULL);
    fork();
}

static void crash_in_library(void)
{
    char *volatile nowhere = (char *)16;

    if (strlen(nowhere) == 3)
        fail_zero = 1;
}

/* ---- loops ----------------------------------------------------------------------------------- */

static void loop_in_malloc(void)
{
    for (size_t size = 1;; size = size * 7 % 9973)
        free(malloc(size));
}

static void loop_in_stdio(void)
{
    FILE *file = fopen("/dev/null", "w");

    for (;;)
        fprintf(file, "%d", fail_zero);
}

static void loop_in_kernel(void)
{
    for (;;)
        getppid();
}

static void loop_with_all_blocked(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    while (!fail_zero)
        ;
}

/* ---- waits for ever -------------------------------------------------------------------------- */

static void wait_in_read(void)
{
    int ends[2];
    char byte;

    if (pipe(ends) == 0)
        while (read(ends[0], &byte, 1) != 1)
            ;
}

static void wait_in_write(void)
{
    static char bytes[1 << 16] E_MANUAL_MIGRATE;
    int ends[2];

    if (pipe(ends) == 0)
        for (;;)
            if (write(ends[1], bytes, sizeof bytes) < 0)
                continue;
}

static void wait_in_recv(void)
{
    int ends[2];
    char byte;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0)
        while (recv(ends[0], &byte, 1, 0) != 1)
            ;
}

static void wait_in_poll(void)
{
    for (;;)
        poll(NULL, 0, -1);
}

static void wait_in_select(void)
{
    for (;;)
        select(0, NULL, NULL, NULL, NULL);
}

static void wait_in_epoll(void)
{
    struct epoll_event event;
    int none = epoll_create1(0);

    for (;;)
        epoll_wait(none, &event, 1, -1);
}

static void wait_for_condition(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t condition = PTHREAD_COND_INITIALIZER;

    pthread_mutex_lock(&mutex);
    for (;;)
        pthread_cond_wait(&condition, &mutex);
}

static void wait_for_own_mutex(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
}

static void wait_for_rwlock(void)
{
    pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

    pthread_rwlock_rdlock(&lock);
    pthread_rwlock_wrlock(&lock);
}

static void wait_for_semaphore(void)
{
    sem_t semaphore;

    sem_init(&semaphore, 0, 0);
    while (sem_wait(&semaphore) != 0)
        ;
}

static void wait_for_barrier(void)
{
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, 2);
    pthread_barrier_wait(&barrier);
}

static void wait_for_futex(void)
{
    uint32_t word = 0;

    while (word == 0)
        syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL);
}

static void wait_for_signal(void)
{
    for (;;)
        pause();
}

static void wait_asleep(void)
{
    for (;;)
        sleep(1000);
}

/* The helper process is a child that does not end. */
static void wait_for_child(void)
{
    for (;;)
        waitid(P_ALL, 0, NULL, WEXITED | WNOWAIT | __WALL);
}

static void wait_for_client(void)
{
    int socket_of_own = socket(AF_INET, SOCK_STREAM, 0);

    listen(socket_of_own, 1);
    for (;;)
        accept(socket_of_own, NULL, NULL);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void end_by_Exit(void)
{
    _Exit(3);
}

static void end_quickly(void)
{
    quick_exit(3);
}

static void end_by_errx(void)
{
    errx(3, "cannot go on");
}

static void end_by_error(void)
{
    error(3, 0, "cannot go on");
}

static void end_by_pthread_exit(void)
{
    pthread_exit(NULL);
}

static void end_by_thrd_exit(void)
{
    thrd_exit(3);
}

static void end_by_cancellation(void)
{
    pthread_cancel(pthread_self());
    pthread_testcancel();
}

static void end_in_exit_handler(void)
{
    atexit(crash);
    exit(3);
}

/* ---- calls that cannot be undone ------------------------------------------------------------- */

static void call_execve(void)
{
    char *arguments[] = {"/bin/true", NULL};

    execve(arguments[0], arguments, environ);
}

static void call_execlp(void)
{
    execlp("true", "true", NULL);
}

static void call_daemon(void)
{
    if (daemon(1, 1) == 0)
        crash();
}

static void *start_nothing(void *argument)
{
    return argument;
}

static void create_thread(void)
{
    pthread_t thread;

    pthread_create(&thread, NULL, start_nothing, NULL);
    pthread_join(thread, NULL);
}

static int start_nothing_else(void *argument)
{
    return argument != NULL;
}

static void create_c11_thread(void)
{
    thrd_t thread;

    thrd_create(&thread, start_nothing_else, NULL);
}

/* ---- the heap -------------------------------------------------------------------------------- */

static void *volatile block E_MANUAL_MIGRATE;

static void free_twice(void)
{
    block = malloc(2000);
    free(malloc(2000));
    free(block);
    free(block);
}

static void free_middle(void)
{
    block = malloc(100);
    free((char *)block + 8);
}

static void free_stack(void)
{
    int here[16] = {0};

    block = &here[4];
    free(block);
}

static void free_mapped(void)
{
    block = malloc(1 << 20);
    ((size_t *)block)[-1] = 0x12345;
    free(block);
}

/* A word behind the last block: the size of what is left of the heap. */
static void break_top(void)
{
    size_t *volatile at;

    block = malloc(100000);
    at = (size_t *)((char *)block + malloc_usable_size(block));
    *at = ~0ul;
    for (int i = 0; i < 10; i++)
        fail_zero += malloc(100000) == NULL;
}

static void poison_list(void)
{
    void *blocks[3];

    for (int i = 0; i < 3; i++)
        blocks[i] = malloc(48);
    for (int i = 0; i < 3; i++)
        free(blocks[i]);
    block = blocks[2];
    *(uintptr_t *)block = 0x5555;
    for (int i = 0; i < 3; i++)
        blocks[i] = malloc(48);
    crash();
}

static void break_free_block(void)
{
    void *other = malloc(3000), *barrier = malloc(16);

    block = other;
    free(other);
    memset(block, 0xa5, 64);
    for (int i = 0; i < MANY; i++)
        fail_zero += malloc(2000 + (size_t)i) == barrier;
    crash();
}

static void grow_wrong_block(void)
{
    block = malloc(100);
    block = realloc((char *)block + 16, 5000);
}

/* ---- a mess, then a crash -------------------------------------------------------------------- */

static void after_blocking(void)
{
    sigset_t all;

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    crash();
}

static void after_ignoring(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_IGN);
    crash();
}

static void go_on(int number)
{
    (void)number;
}

static void after_handling(void)
{
    struct sigaction action = {.sa_handler = go_on, .sa_flags = SA_ONSTACK | SA_NODEFER};

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &action, NULL);
    crash();
}

static void after_altstack(void)
{
    static char bytes[1 << 16] E_MANUAL_MIGRATE;
    stack_t stack = {.ss_sp = bytes, .ss_size = sizeof bytes};

    sigaltstack(&stack, NULL);
    crash();
}

static void after_signals_to_itself(void)
{
    raise(SIGTERM);
    kill(getpid(), SIGUSR1);
    pthread_kill(pthread_self(), SIGALRM);
    sigqueue(getpid(), SIGRTMIN, (union sigval){0});
    crash();
}

static void after_closing_all(void)
{
    for (int fd = 0; fd < 1024; fd++)
        close(fd);
    crash();
}

static void after_covering_all(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd < 64; fd++)
        if (fd != null)
            dup2(null, fd);
    crash();
}

static void after_opening(void)
{
    for (int i = 0; i < MANY; i++)
        fail_zero += open("/dev/null", O_RDONLY) < 0;
    crash();
}

static void after_changing_flags(void)
{
    for (int fd = 0; fd < 64; fd++) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) ^ O_NONBLOCK);
        fcntl(fd, F_SETFD, fcntl(fd, F_GETFD) ^ FD_CLOEXEC);
    }
    crash();
}

static void after_unwatching(void)
{
    struct epoll_event event = {.events = EPOLLOUT};

    for (int queue = 3; queue < 64; queue++)
        for (int fd = 0; fd < 64; fd++)
            epoll_ctl(queue, fd % 2 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &event);
    crash();
}

static void after_filling_pipe(void)
{
    static char bytes[1 << 16] E_MANUAL_MIGRATE;
    int ends[2];

    if (pipe(ends) == 0 && write(ends[1], bytes, sizeof bytes) > 0)
        crash();
}

static void after_broken_pipe(void)
{
    int ends[2];

    signal(SIGPIPE, SIG_DFL);
    if (pipe(ends) == 0)
        close(ends[0]);
    fail_zero += write(ends[1], "x", 1) == 1;
    crash();
}

static void after_chdir(void)
{
    fail_zero += chdir("/") != 0;
    umask(0777);
    crash();
}

static void after_locale(void)
{
    setlocale(LC_ALL, "C.UTF-8");
    setenv("TZ", "Pacific/Apia", 1);
    tzset();
    crash();
}

static void after_environment(void)
{
    static char own[] E_MANUAL_MIGRATE = "FAIL_SOCKETS=elsewhere";

    for (int i = 0; i < MANY; i++) {
        char name[32];

        snprintf(name, sizeof name, "NAME%d", i);
        setenv(name, "value", 1);
    }
    putenv(own);
    crash();
}

static void after_clearing_environment(void)
{
    clearenv();
    crash();
}

static void end_by_syscall(void)
{
    syscall(SYS_exit_group, 3);
}

static void end_thread_by_syscall(void)
{
    syscall(SYS_exit, 3);
}

static void execute_by_syscall(void)
{
    char *const words[] = {"true", NULL}, *const none[] = {NULL};

    syscall(SYS_execve, "/bin/true", words, none);
}

static void loop_blocked_by_syscall(void)
{
    unsigned long all = ~0ul;

    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof all);
    while (!fail_zero)
        ;
}

static void after_timers(void)
{
    struct itimerval soon = {{0, 1000}, {0, 1000}};
    timer_t timer;
    struct itimerspec at = {{0, 1000000}, {0, 1000000}};

    setitimer(ITIMER_REAL, &soon, NULL);
    setitimer(ITIMER_PROF, &soon, NULL);
    if (timer_create(CLOCK_MONOTONIC, NULL, &timer) == 0)
        timer_settime(timer, 0, &at, NULL);
    usleep(5000);
    crash();
}

static void after_keys(void)
{
    pthread_key_t key;

    for (int i = 0; i < 40; i++)
        if (pthread_key_create(&key, free) == 0)
            pthread_setspecific(key, malloc(8));
    crash();
}

static void after_registering(void)
{
    for (int i = 0; i < 64; i++) {
        atexit(crash);
        at_quick_exit(crash);
        pthread_atfork(crash, crash, crash);
    }
    crash();
}

static void after_stdio(void)
{
    printf("never to be seen");
    fclose(stdin);
    for (int i = 0; i < 20; i++)
        fail_zero += fopen("/dev/null", "w") == NULL;
    crash();
}

static void with_stdio_lock(void)
{
    flockfile(stdout);
    crash();
}

static void with_old_lock(void)
{
    pthread_mutex_t *lock = kitsune_lookup_key_old("main.c/guard");

    if (lock)
        pthread_mutex_lock(lock);
    crash();
}

static void after_rounding(void)
{
    unsigned control = 0x7f80; /* towards zero */

    __asm__ volatile("ldmxcsr %0" : : "m"(control));
    crash();
}

static void after_renaming(void)
{
    prctl(PR_SET_NAME, "another");
    crash();
}

static void after_limits(void)
{
    struct rlimit none = {0, RLIM_INFINITY};

    if (getrlimit(RLIMIT_CORE, &none) == 0)
        none.rlim_cur = none.rlim_cur == 0 ? none.rlim_max : 0;
    setrlimit(RLIMIT_CORE, &none);
    crash();
}

static void after_affinity(void)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    fail_zero += nice(3) < 0;
    crash();
}

static void after_fork(void)
{
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    waitpid(child, NULL, 0);
    crash();
}

static void after_growing_break(void)
{
    memset(sbrk(1 << 20), 1, 1 << 20);
    crash();
}

static void after_shrinking_break(void)
{
    sbrk(-(long)PAGE);
    fail_zero += malloc(1 << 16) == NULL;
    crash();
}

/* The page of the old version's first object. */
static char *old_page(void)
{
    char **first = kitsune_lookup_key_old("main.c/items");

    if (!first || !*first)
        crash();
    return (char *)((uintptr_t)*first / PAGE * PAGE);
}

static char *old_variables(void)
{
    return (char *)((uintptr_t)kitsune_lookup_key_old("main.c/workers") / PAGE * PAGE);
}

static void after_unmapping(void)
{
    munmap(old_page(), PAGE);
    munmap(old_variables(), PAGE);
    crash();
}

static void after_protecting(void)
{
    mprotect(old_page(), PAGE, PROT_NONE);
    mprotect(old_variables(), PAGE, PROT_READ);
    crash();
}

static void after_covering(void)
{
    mmap(old_page(), PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    crash();
}

static void after_discarding(void)
{
    madvise(old_page(), PAGE, MADV_DONTNEED);
    madvise(old_variables(), PAGE, MADV_DONTNEED);
    crash();
}

static void after_moving_memory(void)
{
    char *page = old_page();

    if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, page + (1l << 32)) != MAP_FAILED)
        crash();
}

static void after_mapping(void)
{
    for (int i = 0; i < MANY; i++)
        memset(mmap(NULL, 2 * PAGE, i % 2 ? PROT_READ | PROT_WRITE : PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
               1, PAGE);
    crash();
}

static void after_rewriting_old_code(void)
{
    char *code = (char *)((uintptr_t)kitsune_lookup_key_old("serve_worker") / PAGE * PAGE);

    if (mprotect(code, PAGE, PROT_READ | PROT_WRITE) == 0)
        memset(code, 0xcc, PAGE);
    crash();
}

/* ---- the old version's code ------------------------------------------------------------------ */

static void call_old_code(void)
{
    void *(*serve_old)(void *) = (void *(*)(void *))kitsune_lookup_key_old("serve_worker");

    serve_old(kitsune_lookup_key_old("main.c/workers"));
}

static void jump_to_old_frame(void)
{
    jmp_buf *old = kitsune_lookup_key_old("main.c/anchor");

    longjmp(*old, 1);
}

static void arrive_too_early(void)
{
    kitsune_update("serve");
    kitsune_update("worker");
    crash();
}

/* ---- what there is no more of ---------------------------------------------------------------- */

static void use_up_descriptors(void)
{
    while (open("/dev/null", O_RDONLY) >= 0)
        ;
    errx(3, "no descriptor");
}

static void use_up_mappings(void)
{
    for (int i = 0; i < 1 << 20; i++)
        if (mmap(NULL, PAGE, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
            MAP_FAILED)
            abort();
}

/* Frees the old objects and uses their memory again. Their layout is of versions 1 and 3. */
struct old_item {
    int value;
    struct old_item *next;
};

static void spoil_memory(void *first, char *old_text)
{
    struct old_item *next;

    strcpy(old_text, "spoilt");
    for (struct old_item *item = *(struct old_item **)first; item; item = next) {
        next = item->next;
        item->value = -5;
        free(item);
    }
    *(void **)first = NULL;
    for (int i = 0; i < MANY; i++)
        memset(malloc(40), 0xa5, 40);
}

/* ---- by name --------------------------------------------------------------------------------- */

#define WAYS(X) \
    X(call_null) X(jump_wild) X(write_beyond_addresses) X(write_constant) X(run_data) \
    X(privileged) X(trap) X(raise_sys) X(raise_segv) X(fail_assertion) X(smash_stack) \
    X(jump_over_guard) X(__stack_chk_fail) X(overrun_checked_buffer) X(overrun_checked_text) \
    X(jump_by_garbage) X(crash_with_linkers_lock) X(crash_in_sort) X(crash_in_once) \
    X(crash_in_atfork) X(crash_in_library) X(loop_in_malloc) X(loop_in_stdio) \
    X(loop_in_kernel) X(loop_with_all_blocked) X(wait_in_read) X(wait_in_write) \
    X(wait_in_recv) X(wait_in_poll) X(wait_in_select) X(wait_in_epoll) X(wait_for_condition) \
    X(wait_for_own_mutex) X(wait_for_rwlock) X(wait_for_semaphore) X(wait_for_barrier) \
    X(wait_for_futex) X(wait_for_signal) X(wait_asleep) X(wait_for_child) X(wait_for_client) \
    X(end_by_Exit) X(end_quickly) X(end_by_errx) X(end_by_error) X(end_by_pthread_exit) \
    X(end_by_thrd_exit) X(end_by_cancellation) X(end_in_exit_handler) X(call_execve) \
    X(call_execlp) X(call_daemon) X(create_thread) X(create_c11_thread) X(free_twice) \
    X(free_middle) X(free_stack) X(free_mapped) X(break_top) X(poison_list) \
    X(break_free_block) X(grow_wrong_block) X(after_blocking) X(after_ignoring) \
    X(after_handling) X(after_altstack) X(after_signals_to_itself) X(after_closing_all) \
    X(after_covering_all) X(after_opening) X(after_changing_flags) X(after_unwatching) \
    X(after_filling_pipe) X(after_broken_pipe) X(after_chdir) X(after_locale) \
    X(after_environment) X(after_clearing_environment) X(after_timers) X(after_keys) \
    X(end_by_syscall) X(end_thread_by_syscall) X(execute_by_syscall) \
    X(loop_blocked_by_syscall) X(after_registering) X(after_stdio) X(with_stdio_lock) X(with_old_lock) \
    X(after_rounding) X(after_renaming) X(after_limits) X(after_affinity) X(after_fork) \
    X(after_growing_break) X(after_shrinking_break) X(after_unmapping) X(after_protecting) \
    X(after_covering) X(after_discarding) X(after_moving_memory) X(after_mapping) \
    X(after_rewriting_old_code) X(call_old_code) X(jump_to_old_frame) \
    X(arrive_too_early) X(use_up_descriptors) X(use_up_mappings)

static void fail_otherwise(const char *way)
{
    void (*volatile go)(void) = NULL; /* so that each stays a function of its own */

#define IF_IT_IS(name) \
    if (strcmp(way, #name) == 0) \
        go = name;
    WAYS(IF_IT_IS)
#undef IF_IT_IS
    if (go)
        go();
}

#endif
