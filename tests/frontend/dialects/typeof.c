/* gnu2x: a b c d */
int a;
typeof(a) b;
__typeof__(&a) c;
typeof(struct t { int q; char r; }) d;
