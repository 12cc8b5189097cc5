/* gnu11: a b c */
_Atomic int a;
_Atomic(long) b;
struct { _Atomic(int *) p; int * _Atomic q; } c;
