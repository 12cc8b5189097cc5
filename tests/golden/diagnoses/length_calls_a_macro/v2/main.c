struct item { long w; int a; };
struct list { int n; struct item *items; } list;
