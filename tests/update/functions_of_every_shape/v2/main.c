#define STEP 10
#define EXTRA long extra;
#include "../body.h"
