int kept;
static long total = 1;
static int other;
long sum(void) { return total + other; }
