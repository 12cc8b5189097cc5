typedef int op(int);
static int two_times(int n) { return 2 * n; }
static int thrice(int n) { return 3 * n; }
static int other(char *s) { return *s; }
op *table[2] = { two_times, thrice };
int (*unlike)(char *) = other;
