union u { int i; float f; } u;
