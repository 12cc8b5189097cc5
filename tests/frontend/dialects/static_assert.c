/* gnu2x: a */
static_assert(1);
static_assert(sizeof(int) == 4, "x");
int a;
