struct item { int a; void *extra; } *items;
void *where;
