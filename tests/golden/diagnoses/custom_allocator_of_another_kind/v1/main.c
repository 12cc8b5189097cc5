struct item { int a; };
struct item *items;
