union u { int i; double a; } u;
