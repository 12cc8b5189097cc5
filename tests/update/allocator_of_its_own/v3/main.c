struct item {
    int number;
    char room[100];
    struct item *next;
};

#include "../body.h"
