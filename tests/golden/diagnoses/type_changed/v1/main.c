struct item { struct item *next; int size; } *items;
