int kept;
static const int fixed = 3;
static int *added = (int *)&fixed;
int *use(void) { return added; }
