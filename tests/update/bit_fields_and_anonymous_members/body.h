#include <stdlib.h>
#include "serve.h"

static struct bits *all[2];
static const struct bits constant = {.wider = 1};
static const struct bits *to_constant = &constant;

static void fill(void)
{
    for (int i = 0; i < 2; i++) {
        struct bits *bits = all[i] = calloc(1, sizeof *bits);
        bits->wider = 7;
        bits->signed_wider = -8;
        bits->becomes_signed = 31;
        bits->becomes_plain = 100;
        bits->level = TOP;
        bits->flag = 1;
        bits->across = -500000;
        bits->boundary = 400000;
        bits->narrower = 5;
        bits->levels[0] = HIGH;
        bits->levels[2] = TOP;
        bits->moved_in = 11;
        bits->x = 12;
        bits->y = 13;
        bits->deep = 14;
        bits->self = bits;
        if (i) {
            bits->first = 15;
            bits->second = all[0];
        } else {
            bits->real = 1.5;
        }
    }
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0)
        fill();
    for (int i = 0; i < 2; i++) {
        const struct bits *bits = all[i];
        printf("%d %d %d %d %d %d %d %d %d; ", (int)bits->wider, bits->signed_wider,
               (int)bits->becomes_signed, (int)bits->becomes_plain, bits->level == TOP, bits->flag,
               (int)bits->across, (int)bits->boundary, (int)bits->narrower);
        printf("%d %d %d; %d %d %d %d %d; ", bits->levels[0] == HIGH, bits->levels[1] == LOW,
               bits->levels[2] == TOP, bits->moved_in, bits->x, bits->y, bits->deep,
               bits->self == bits);
        if (i)
            printf("%d %d\n", (int)bits->first, bits->second == all[0]);
        else
            printf("%.1f\n", bits->real);
    }
    printf("%d\n", to_constant == &constant);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
