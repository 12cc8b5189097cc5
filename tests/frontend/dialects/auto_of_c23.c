/* gnu2x: x ~f#z */
auto x = 5;
int f(void) { auto y = 3; static auto z = 2L; return y + x + (int)z; }
