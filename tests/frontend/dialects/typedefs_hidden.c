/* gnu11: t ~f#u */
typedef int T;
typedef int T;
T t;
int f(void) { int T = 1; static int u; return T + u; }
