int *p;
struct s { short n; } s;
long table[3];
