struct item { int a; };
struct value { int kind; union { long number; struct item *item; } u; } value;
struct item *items;
