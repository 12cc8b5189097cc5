typedef int (*handler)(int);
static int twice(int n) { return 2 * n; }
handler current;
void set(void) { current = twice; }
