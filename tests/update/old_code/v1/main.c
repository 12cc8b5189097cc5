/* Pointers that nobody translates: two to functions, of which one has a successor, one to a literal. */
#include "serve.h"

#include <link.h>
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

static int number_of(int x)
{
    return x + 1;
}

static int only_in_the_first(int x)
{
    return x + 10;
}

/* A block in whose rest a word of the dynamic linker's is left: it had the memory before. */
static void leave_stale_word(void)
{
    void **volatile stale = malloc(3 * sizeof *stale); /* or the compiler leaves all out */

    for (const ElfW(Dyn) *entry = _DYNAMIC; entry->d_tag != DT_NULL; entry++)
        if (entry->d_tag == DT_SYMTAB)
            stale[2] = (void *)(entry->d_un.d_ptr + sizeof(ElfW(Sym)));
}

static void set(void)
{
    leave_stale_word();
    known = (void *)number_of;
    lost = (void *)only_in_the_first;
    text = "a literal of the first version";
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

static void answer(const char *word, const char *rest)
{
    (void)rest;
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
    else if (strcmp(word, "raise") == 0)
        raise(SIGSEGV);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
