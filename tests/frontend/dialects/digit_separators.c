/* gnu2x: a b */
int a[1'000];
int b = 0b1010'1010;
