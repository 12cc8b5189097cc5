struct item { int a; int b; };
struct value { union { long number; struct item *item; } u; } value;
struct item *items;
