/* gnu11: g ~f#p */
int f(int n, int m[n][n]) { typedef int row[n]; static int (*p)[3]; row r; int (*q)[n] = m; r[0] = sizeof *q; return r[0] + !p; }
int g;
