/* gnu11: g */
union __attribute__((transparent_union)) u { int *a; float *b; };
int f(union u x) { return *x.a; }
int g;
