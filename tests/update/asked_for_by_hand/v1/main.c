#include "serve.h"

struct asked {
    int value;
};

struct changed {
    int value;
};

/* The pointers into objects are asked for before the objects. */
struct node {
    struct node *first, *second;
};

struct node **into_left, **into_right, *left, *right, end;
struct asked asked;
static int hidden;
int number = 0;
struct changed *unasked;

static int next(void)
{
    static int count;

    return ++count;
}

static int is_whole(void)
{
    return into_left == &left->first && into_right == &right->second && left->first == &end &&
           left->second == &end && right->first == &end && right->second == &end;
}

static void answer(const char *word, const char *rest)
{
    static __thread int per_thread;

    (void)word, (void)rest;
    per_thread++;
    printf("%d %d %d %d %d\n", ++asked.value, ++hidden, next(), ++number,
           is_whole());
}

int main(void)
{
    unasked = calloc(1, sizeof *unasked);
    left = calloc(1, sizeof *left);
    right = calloc(1, sizeof *right);
    left->first = left->second = right->first = right->second = &end;
    into_left = &left->first;
    into_right = &right->second;
    serve();
    return 0;
}
