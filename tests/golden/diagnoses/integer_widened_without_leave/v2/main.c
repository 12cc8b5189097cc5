struct item { unsigned long size; } *items;
