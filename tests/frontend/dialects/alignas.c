/* gnu11: a b e */
_Alignas(64) int a;
struct { _Alignas(16) char c; char d; } b;
_Alignas(double) char e;
