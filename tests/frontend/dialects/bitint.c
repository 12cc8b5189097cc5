/* gnu2x: a d */
_BitInt(17) a;
struct { _BitInt(5) b; unsigned _BitInt(40) c; } d;
