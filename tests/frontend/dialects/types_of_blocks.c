/* gnu11: g ~f#s ~f#t */
int f(int n) { for (int i = 0; i < n; i++) { static struct loc { int q; } s[2]; s[i].q++; if (n) { static struct loc t; t.q++; } } return n; }
int g;
