union u { long number; struct item *item; };
struct item { int a; };
struct value { int kind; union u u; } value;
union u *alone;
struct item *items;
