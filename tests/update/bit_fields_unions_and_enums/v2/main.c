#include "serve.h"

enum color { RED = 1, GREEN, BLUE };

struct flags {
    unsigned seen : 3;
    unsigned urgent : 1;
    unsigned level : 5;
    int delta : 7;
    enum color color;
    union {
        long number;
        double fraction;
    } amount;
    struct {
        short y, x;
    };
    struct flags *next;
};

static struct flags *all;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "add") == 0) {
        struct flags *flags = calloc(1, sizeof *flags);
        int level = atoi(rest);
        flags->urgent = (unsigned)level % 2;
        flags->level = (unsigned)level % 32;
        flags->delta = -level;
        flags->color = (enum color)(level % 3 + 1);
        flags->amount.fraction = level / 2.0;
        flags->x = (short)(level + 1);
        flags->y = (short)(level + 2);
        flags->next = all;
        all = flags;
    }
    for (const struct flags *flags = all; flags; flags = flags->next)
        printf("%u %u %d %d %.1f %d %d\n", flags->urgent, flags->level, flags->delta,
               (int)flags->color, flags->amount.fraction, flags->x, flags->y);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
