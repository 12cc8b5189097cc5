union u { int i; struct { int b; long a; } s; } u;
