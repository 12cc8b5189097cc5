/* gnu11: g ~f#t */
int f(int x) { static void *const t[] = { &&a, &&b }; goto *t[x]; a: return 1; b: return 2; }
int g;
