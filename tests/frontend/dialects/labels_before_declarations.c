/* gnu2x: a */
int f(int x) { switch (x) { case 1: int y = 2; return y; default: } return 0; }
int a;
