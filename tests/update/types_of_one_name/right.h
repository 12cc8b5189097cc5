#include <stdlib.h>
#define WIDE
#include "shared.h"

struct node {
    char name[8];
    RIGHT_EXTRA
    struct node *left, *right;
};

struct hidden {
    int number;
    RIGHT_EXTRA
};

static struct node *root;
static struct packet *packets;

void right_fill(void)
{
    root = calloc(1, sizeof *root);
    root->name[0] = 5;
    root->left = calloc(1, sizeof *root);
    root->left->name[0] = 6;
    root->left->right = root;
    packets = calloc(1, sizeof *packets);
    packets->header = 700;
    packets->number = 70;
}

int right_sum(void)
{
    return root->name[0] + root->left->name[0] + (root->left->right == root) +
           (int)packets->header + packets->number;
}

struct node *right_node(void)
{
    return root->left;
}

struct hidden *hidden_new(int number)
{
    struct hidden *hidden = calloc(1, sizeof *hidden);

    hidden->number = number;
    return hidden;
}

int hidden_get(const struct hidden *hidden)
{
    return hidden->number;
}
