typedef struct { int a; float b; } item_t;
item_t item;
