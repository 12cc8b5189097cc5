#include "serve.h"
#include "../shared.h"

static struct node *of_left;  /* which of the two is known to nobody but the user */
static struct node *of_right;
static struct hidden *hidden; /* there is only one */
static struct hidden *kept[2];

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0) {
        left_fill();
        right_fill();
        local_fill();
        of_left = left_node();
        of_right = right_node();
        hidden = hidden_new(9);
        kept[1] = hidden;
    }
    printf("%d %d %d %d %d %d %d\n", left_sum(), right_sum(), local_sum(), of_left == left_node(),
           of_right == right_node(), hidden_get(hidden), kept[1] == hidden);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
