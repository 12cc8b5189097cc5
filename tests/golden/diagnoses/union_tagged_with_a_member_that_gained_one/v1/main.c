struct value { int kind; union { long number; struct { int x; } pair; } u; } value;
