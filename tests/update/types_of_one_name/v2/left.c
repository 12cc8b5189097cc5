#define LEFT_EXTRA long extra;
#include "../left.h"
