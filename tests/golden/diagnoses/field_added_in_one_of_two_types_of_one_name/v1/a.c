struct node { int a; };
static struct node *first;
void *f(void) { return first; }
