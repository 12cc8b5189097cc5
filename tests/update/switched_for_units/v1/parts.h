#include <kitsune.h>

void count(void);
void note(void);
int run_all(void);
int run(int one, int other);
