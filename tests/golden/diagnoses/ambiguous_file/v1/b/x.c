static int v;
int *g(void) { return &v; }
