#include <stdio.h>
#include <stdlib.h>
struct node { int a; struct node *next; };
static struct node *head;
static int count = 0;
static struct node **tail = &head;
void helper_show(void) {
    struct node *n;
    count++;
    n = calloc(1, sizeof *n);
    n->a = count;
    *tail = n;
    tail = &n->next;
    for (n = head; n; n = n->next) printf("a%d ", n->a);
    printf("\n");
}
