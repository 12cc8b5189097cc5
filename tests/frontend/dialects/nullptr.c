/* gnu2x: p ~q */
int *p = nullptr;
static void *q = nullptr;
void *use(void) { return q; }
