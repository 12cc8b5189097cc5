#include <kitsune.h>

struct list {
    int count;
    int *E_PTRARRAY() numbers;
};
struct list list;
