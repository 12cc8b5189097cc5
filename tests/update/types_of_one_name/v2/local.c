#define LEFT_EXTRA long extra;
#define RIGHT_EXTRA double more;
#include "../local.h"
