/* c11: v */
struct s { int a; struct { int b; }; union { int c; float d; }; } v;
_Static_assert(1, "");
_Noreturn void f(void) { for (;;); }
