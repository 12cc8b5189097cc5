struct node { long b; int c; };
static struct node *other;
void *g(void) { return other; }
