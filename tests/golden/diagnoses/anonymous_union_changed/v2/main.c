struct item { int kind; union { int i; }; };
struct item item;
