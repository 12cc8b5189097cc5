struct item { int a; };
struct value { union { long number; struct item *item; } u; } value;
struct item *items;
