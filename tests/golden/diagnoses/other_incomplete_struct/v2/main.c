struct b;
struct b *p;
