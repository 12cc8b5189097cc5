#include "serve.h"

#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>

struct box {
    void *known;
};

static void *known, *lost;
static const char *text;
static struct box *box;
static sigjmp_buf back;
static volatile sig_atomic_t faults;
static volatile uintptr_t wild = 8;

static int how_many(int x)
{
    return x + 2;
}

static void set(void)
{
    known = (void *)how_many;
    text = "a literal of the second version";
    box = malloc(sizeof *box);
    box->known = known;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    faults += info->si_signo == SIGSEGV;
    siglongjmp(back, 1);
}

static void handle(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO}, before;

    sigaction(SIGSEGV, &action, &before);
    printf("%d\n", before.sa_handler == SIG_DFL);
    sigaction(SIGSEGV, NULL, &before);
    printf("%d\n", before.sa_sigaction == on_fault && before.sa_flags == SA_SIGINFO);
}

static void read_nothing(void)
{
    if (sigsetjmp(back, 1) == 0)
        printf("%d\n", *(volatile int *)wild);
    printf("faults %d\n", faults);
}

static void call(void *function)
{
    if (sigsetjmp(back, 1) == 0)
        printf("%d\n", ((int (*)(int))function)(100));
    else
        printf("fault\n");
}

/* Which of three signals are blocked after a set is to be, with all of them in it or with one. */
static void block(int how, int with_all)
{
    const int asked[] = {SIGURG, SIGSEGV, SIGUSR1};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = with_all ? 0 : 2; i < 3; i++)
        sigaddset(&set, asked[i]);
    sigprocmask(how, &set, NULL);
    sigprocmask(how, NULL, &set);
    for (size_t i = 0; i < 3; i++)
        printf("%d%s", sigismember(&set, asked[i]), i < 2 ? " " : "\n");
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "set") == 0)
        set();
    else if (strcmp(word, "known") == 0)
        call(known);
    else if (strcmp(word, "box") == 0)
        call(box->known);
    else if (strcmp(word, "lost") == 0)
        call(lost);
    else if (strcmp(word, "text") == 0)
        printf("%s\n", text);
    else if (strcmp(word, "handle") == 0)
        handle();
    else if (strcmp(word, "fault") == 0)
        read_nothing();
    else if (strcmp(word, "block") == 0)
        block(SIG_BLOCK, 1);
    else if (strcmp(word, "set-mask") == 0)
        block(SIG_SETMASK, strcmp(rest, "all") == 0);
    else if (strcmp(word, "unblock") == 0)
        block(SIG_UNBLOCK, 1);
    else if (strcmp(word, "raise") == 0)
        raise(SIGSEGV);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
