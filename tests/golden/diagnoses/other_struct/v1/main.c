struct a { int x; };
struct a *p;
