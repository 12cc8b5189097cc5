#include <stdio.h>
#include <stdlib.h>
struct node { double d; struct node *left, *right; };
static struct node *head;
static int count = 100;
void helper2_show(void) {
    struct node *n;
    count++;
    n = calloc(1, sizeof *n);
    n->d = count;
    n->left = head;
    n->right = n;
    head = n;
    for (n = head; n; n = n->left) printf("b%g%d ", n->d, n->right == n);
    printf("\n");
}
