enum color { RED, WHITE, GREEN, BLUE };
typedef struct { short y, x; } point;
struct entry {
    struct entry *next;
    char *name;
    long size;
    enum color color;
    unsigned is_open : 1, level : 7;
    double weight;
    int hits;
    point where;
};
struct entry *items;
struct entry *first;
int total;
