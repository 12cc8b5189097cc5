struct item { unsigned flags : 3; } item;
