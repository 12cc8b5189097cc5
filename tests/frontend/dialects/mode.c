/* gnu11: a b */
typedef int word __attribute__((mode(DI)));
word a;
int b __attribute__((mode(QI)));
