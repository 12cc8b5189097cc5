struct node { int a; };
struct node *nodes;
