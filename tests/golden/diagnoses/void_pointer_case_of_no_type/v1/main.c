struct item { int a; };
struct value { int kind; void *data; } value;
struct item *items;
