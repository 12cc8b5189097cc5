/* gnu11: a b e */
__int128 a;
unsigned __int128 b;
struct { char c; __int128 d; } e;
