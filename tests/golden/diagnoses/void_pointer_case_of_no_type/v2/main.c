struct item { int a, b; };
struct value { int kind; void *data; } value;
struct item *items;
