struct pair {
    int key, value;
    struct pair *next;
};

#include "../body.h"
