/* Generic types: several parameters, a typedef that is generic and bound, words, pointers to pointers. */
#include <stdlib.h>
#include "serve.h"

struct cell E_GENERIC(@value) {
    void E_T(@value) * value;
    struct cell E_G(@value) * next;
};

struct map E_GENERIC(@key, @value, @note) {
    int count;
    void * E_T(@key) keys[2];          /* each is a key: a pointer, or a word */
    struct cell E_G(@value) * cells[2]; /* lists of values */
    void E_T(@note) ** notes E_PTRARRAY(self.count);
    struct map E_G(@key, @value, @note) * parent;
};

typedef struct cell E_G(@item) * chain E_GENERIC(@item);

struct triple E_GENERIC(@a, @b, @c) {
    void E_T(@a) * a;
    void E_T(@b) * b;
    void * E_T(@c) c;
};

static struct item *items[3];
static struct map E_G(struct item *, struct cell<struct item>, struct item) *map;
static struct map E_G([opaque], struct item, int) *words;
static struct triple E_G(struct item, struct triple<int, struct item, [opaque]>, struct item **) triple;
static chain E_G(struct item) chained;
static struct item * E_OPAQUE left_alone, * E_AUTO followed; /* each with its own */
