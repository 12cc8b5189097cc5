/* Takes places of a tree as its processes do, one after the other. Exit status 0: each got its own. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tree.h"

/* Numbers that nobody has; the kernel's own bound is 2^22. */
enum { NOBODY = 5 << 20 };

static struct kitsune__tree *tree;

static int index_of(const struct kitsune__control *place) {
    for (uint32_t i = 0; place && i < kitsune__tree_capacity(); i++)
        if (kitsune__tree_place(tree, i) == place)
            return (int)i;
    return -1;
}

static int enter(int32_t pid) {
    return index_of(kitsune__tree_enter(tree, pid, NULL));
}

static int expect(const char *what, int got, int expected) {
    if (got != expected)
        fprintf(stderr, "%s: place %d, expected %d\n", what, got, expected);
    return got != expected;
}

int main(void) {
    int wrong = 0, children[2];

    tree = kitsune__tree_map();
    wrong |= expect("the first", enter(getpid()), 0);
    /* Another process is where it has counted its place and not yet taken it. */
    tree->used++;
    for (int i = 0; i < 2; i++)
        if ((children[i] = fork()) == 0)
            pause();
    wrong |= expect("beside one that is about to be taken", enter(children[0]), 2);
    wrong |= expect("the next", enter(children[1]), 3);
    kill(children[0], SIGKILL);
    waitpid(children[0], NULL, 0);
    wrong |= expect("that of the dead", enter(NOBODY), 2);
    kill(children[1], SIGKILL);
    waitpid(children[1], NULL, 0);
    return wrong;
}
