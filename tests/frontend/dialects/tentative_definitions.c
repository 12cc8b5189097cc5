/* gnu11: a b */
int a;
int a;
int b[];
int b[4];
