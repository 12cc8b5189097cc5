typedef int op(int);
static int twice(int n) { return 2 * n; }
static int thrice(int n) { return 3 * n; }
op *table[2] = { twice, thrice };
