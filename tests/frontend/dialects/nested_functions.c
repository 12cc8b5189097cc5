/* gnu11: g ~f#calls */
int f(int x) { int add(int y) { static int calls; calls++; return x + y; } int (*p)(int) = add; return p(2); }
int g;
