struct item { int a; struct item *to; };
struct item *items[4];
