struct item { int size; } item;
