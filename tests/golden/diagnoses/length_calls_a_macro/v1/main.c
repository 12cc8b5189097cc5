struct item { int a; };
struct list { int n; struct item *items; } list;
