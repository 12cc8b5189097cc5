struct item { int a, b; };
struct item *items;
