#include <stdlib.h>
#include "shared.h"

struct node {
    LEFT_EXTRA
    int number;
    struct node *next;
};

static struct node *nodes;
static struct packet *packets;

void left_fill(void)
{
    for (int i = 1; i <= 3; i++) {
        struct node *node = calloc(1, sizeof *node);
        struct packet *packet = calloc(1, sizeof *packet);
        node->number = i;
        node->next = nodes;
        nodes = node;
        packet->number = 10 * i;
        packet->next = packets;
        packets = packet;
    }
}

int left_sum(void)
{
    int sum = 0;

    for (const struct node *node = nodes; node; node = node->next)
        sum += node->number;
    for (const struct packet *packet = packets; packet; packet = packet->next)
        sum += packet->number;
    return sum;
}

struct node *left_node(void)
{
    return nodes;
}
