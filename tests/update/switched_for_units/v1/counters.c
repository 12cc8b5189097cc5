#include "parts.h"

static int not_migrated;
static int migrated E_AUTO_MIGRATE = 1;

void count(void)
{
    printf("%d %d\n", ++not_migrated, ++migrated);
}
