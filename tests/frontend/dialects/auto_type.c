/* gnu11: g ~f#z */
int f(void) { __auto_type y = 3; static __typeof__(y) z; return y + z; }
int g;
