struct item { int a; long hits; };
struct list { struct item *first; } list;
