union u { int i; struct { int a; } s; } u;
