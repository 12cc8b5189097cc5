struct item { int a, b; };
struct value { int kind; union { long number; struct item *item; } u; } value;
struct item *items;
