char a;
long b;
