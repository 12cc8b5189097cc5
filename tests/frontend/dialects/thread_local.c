/* gnu2x: a ~b */
thread_local int a;
static thread_local int b;
int f(void) { return b; }
