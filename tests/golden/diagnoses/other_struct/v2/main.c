struct b { int x; };
struct b *p;
