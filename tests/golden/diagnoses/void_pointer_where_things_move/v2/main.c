struct item { int a; void *extra; int b; } *items;
void *where;
