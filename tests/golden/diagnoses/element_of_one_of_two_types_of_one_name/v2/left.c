struct node { int a, more; };
struct node *nodes;
