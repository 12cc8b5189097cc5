struct item { int a, b; };
struct value { int kind; union { long number; struct item *item; };
  union { int x; float y; }; } value;
struct item *items;
