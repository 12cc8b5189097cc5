union u { int i; } u;
