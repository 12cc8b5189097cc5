struct value { int kind; union { long number; struct { int x, y; } pair; } u; } value;
