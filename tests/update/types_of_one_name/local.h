#include <stdlib.h>
#include "shared.h"

static int local_of(int fill)
{
    struct node { /* of this function */
        short number;
        LEFT_EXTRA
        struct node *self;
    };
    static struct node *node, here;

    if (fill) {
        node = calloc(1, sizeof *node);
        node->number = 3;
        node->self = node;
        here.number = 4;
        here.self = node;
    }
    {
        struct node { /* of this block */
            RIGHT_EXTRA
            char letter;
        };
        static struct node *inner;

        if (fill) {
            inner = calloc(1, sizeof *inner);
            inner->letter = 'a';
        }
        return inner->letter + node->number + here.number + (here.self->self == node);
    }
}

void local_fill(void)
{
    local_of(1);
}

int local_sum(void)
{
    return local_of(0);
}
