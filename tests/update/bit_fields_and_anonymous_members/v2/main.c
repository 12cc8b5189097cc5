#include "types.h"
#include "../body.h"
