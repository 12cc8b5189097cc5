/* gnu2x: ~n a ~k ~f#b */
constexpr int n = 4;
int a[n];
constexpr struct { int x; } k = { 3 };
int f(void) { constexpr int m = 3; static int b[m]; return b[0] + k.x; }
