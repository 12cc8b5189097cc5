#define LEFT_EXTRA 
#include "../left.h"
