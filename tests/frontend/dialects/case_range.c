/* gnu11: g t ~f#s */
int f(int x) { switch (x) { case 1 ... 5: { static int s; return s++; } case 'a' ... 'z': return 2; } return 0; }
int g;
int t[] = { [0 ... 3] = 1 };
