struct item { int size; };
int a;
