struct node { long b; };
static struct node *other;
void *g(void) { return other; }
