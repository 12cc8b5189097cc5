struct item { unsigned flags : 4; } item;
