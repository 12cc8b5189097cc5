#include <stdlib.h>
#include "types.h"
#include "../body.h"
