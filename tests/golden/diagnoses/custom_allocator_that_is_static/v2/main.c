struct item { int a, b; };
struct item *items;
static void *pool_get(unsigned long size) { return (void *)size; }
void pool_put(void *block) { (void)block; }
void *(*use)(unsigned long) = pool_get;
