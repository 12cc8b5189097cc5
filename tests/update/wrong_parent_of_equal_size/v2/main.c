struct pair {
    int value, key;
    struct pair *next;
};

#include "../body.h"
