static int v;
int *f(void) { return &v; }
