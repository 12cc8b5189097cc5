struct a;
struct a *p;
