struct item {
    struct item *next;
    int size_kb;
    char *name;
} *items;
