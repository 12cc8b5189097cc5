struct item { int a; int b; };
struct item *items;
