/* gnu11: ~a fp b c */
static __attribute__((unused)) int a;
int (__attribute__((noinline)) *fp)(int) ;
int __attribute__((aligned(32))) b;
int c __attribute__((section("mine"))) = 1;
void f(void) __attribute__((constructor));
void f(void) { a++; }
