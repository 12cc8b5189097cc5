/* gnu11: a b ~f#s */
int a = _Generic(1, int: 3, default: 4);
int b[_Generic('a', int: 2, char: 3)];
int f(long x) { return _Generic(x, long: ({ static int s; s++; }), default: 0); }
