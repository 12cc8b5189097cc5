#include "../main.h"
