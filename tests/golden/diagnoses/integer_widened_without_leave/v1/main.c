struct item { unsigned size; } *items;
