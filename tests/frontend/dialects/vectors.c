/* gnu11: a d */
typedef int v4 __attribute__((vector_size(16)));
v4 a;
struct { v4 b; char c; } d;
