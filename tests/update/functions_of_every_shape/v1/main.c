#define STEP 1
#define EXTRA
#include "../body.h"
