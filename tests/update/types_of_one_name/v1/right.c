#define RIGHT_EXTRA 
#include "../right.h"
