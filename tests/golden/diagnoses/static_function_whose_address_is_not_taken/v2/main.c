typedef int (*handler)(int);
static int twice(int n) { return 2 * n; }
handler current;
int call(void) { return twice(2); }
