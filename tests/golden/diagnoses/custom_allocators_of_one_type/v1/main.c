struct item { int a; };
struct item *items;
struct item *more;
