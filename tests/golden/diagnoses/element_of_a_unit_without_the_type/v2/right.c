struct node { long b; struct node *next; };
struct node *tree;
