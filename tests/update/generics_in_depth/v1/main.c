struct item {
    int number;
};

#include "../types.h"

#include "../body.h"
