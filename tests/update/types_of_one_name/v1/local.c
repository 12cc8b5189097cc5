#define LEFT_EXTRA 
#define RIGHT_EXTRA 
#include "../local.h"
