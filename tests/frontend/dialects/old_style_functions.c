/* gnu11: g ~f#s */
int f(a, b) int a;
char *b;
{ static int s; return a + *b + s; } int g;
