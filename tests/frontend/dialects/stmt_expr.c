/* gnu11: g ~f#s */
int f(int x) { return ({ static int s; s += x; s; }); }
int g;
