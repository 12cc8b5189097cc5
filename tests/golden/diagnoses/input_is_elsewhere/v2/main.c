struct a { int x; };
struct b { int y; } b;
struct a a;
