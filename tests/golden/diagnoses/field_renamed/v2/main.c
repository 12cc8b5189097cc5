struct item {
    struct item *next;
    int size;
    char *name;
} *items;
