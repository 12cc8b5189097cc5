/* gnu11: ~kept g */
#include <stdarg.h>
int f(int n, ...) { va_list ap; va_start(ap, n); int r = va_arg(ap, int); va_end(ap); return r; }
static va_list kept;
int use(void) { return !&kept; }
int g;
