struct item { int kind; union { int i; float f; }; };
struct item item;
