struct item {
    long weight;
    int number;
};

#include "../types.h"

#include "../body.h"
