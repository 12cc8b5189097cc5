#include <kitsune.h>
#include "types.h"
#include "../body.h"
