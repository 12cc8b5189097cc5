/* gnu2x: a */
int f(int, char *) { return 1; }
int a;
