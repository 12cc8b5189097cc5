#define RIGHT_EXTRA double more;
#include "../right.h"
