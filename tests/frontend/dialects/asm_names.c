/* gnu11: g */
int f(void) { int x; __asm__ volatile ("nop" : "=r"(x) : : "memory"); return x; }
int g __asm__("gee");
register int r15 __asm__("r15");
