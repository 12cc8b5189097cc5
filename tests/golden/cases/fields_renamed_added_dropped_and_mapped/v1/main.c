enum color { RED, GREEN, BLUE };
typedef struct { short x, y; } point;
struct item {
    char *name;
    int size;
    enum color color;
    point where;
    unsigned is_open : 1, level : 5;
    int gone;
    struct item *next;
};
struct item *items;
struct item *first;
int counter;
