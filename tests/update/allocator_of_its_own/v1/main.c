struct item {
    int number;
    struct item *next;
};

#include "../body.h"
