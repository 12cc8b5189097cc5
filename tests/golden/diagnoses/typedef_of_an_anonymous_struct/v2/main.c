typedef struct { int a; int b; struct { int x; } sub; } item_t;
item_t item;
