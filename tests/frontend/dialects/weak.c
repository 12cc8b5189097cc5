/* gnu11: w p y */
int w __attribute__((weak));
extern int x __attribute__((weak));
int *p = &x;
int y;
extern int z __attribute__((alias("y")));
