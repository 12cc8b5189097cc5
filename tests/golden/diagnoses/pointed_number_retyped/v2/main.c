long *p;
struct s { double n; } s;
char *table[3];
