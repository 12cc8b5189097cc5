#include <setjmp.h>

#include "serve.h"

static jmp_buf back;
static int *jumps;

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d\n", *jumps);
}

/* What is jumped over stays in memory that nobody writes to, in the middle of a live frame. */
static void __attribute__((noinline)) deeper(int which) E_NOTELOCALS
{
    int lost = 77;

    if (which == 0)
        longjmp(back, 1);
    else if (which == 1)
        _longjmp(back, 2);
    siglongjmp(back, lost);
}

static int __attribute__((noinline)) wide(void)
{
    volatile char untouched[65536];

    untouched[0] = 1;
    serve();
    return untouched[0];
}

int main(void) E_NOTELOCALS
{
    volatile int count = 0;

    jumps = (int *)&count;
    if (setjmp(back) != 77)
        deeper(count++);
    return wide() - 1;
}
