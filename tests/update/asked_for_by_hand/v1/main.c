#include "serve.h"

struct asked {
    int value;
};

struct changed {
    int value;
};

struct asked asked;
static int hidden;
int number = 0;
struct changed *unasked;

static int next(void)
{
    static int count;

    return ++count;
}

static void answer(const char *word, const char *rest)
{
    static __thread int per_thread;

    (void)word, (void)rest;
    per_thread++;
    printf("%d %d %d %d\n", ++asked.value, ++hidden, next(), ++number);
}

int main(void)
{
    unasked = calloc(1, sizeof *unasked);
    serve();
    return 0;
}
