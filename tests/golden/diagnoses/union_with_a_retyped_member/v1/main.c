union u { int i; long a; } u;
