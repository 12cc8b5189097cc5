/* gnu11: a b c z */
struct e {} a;
struct { int n; char data[]; } b;
struct { int n; char d[0]; } c;
int z[0];
