struct item { int a; };
struct list { struct item *first; } list;
