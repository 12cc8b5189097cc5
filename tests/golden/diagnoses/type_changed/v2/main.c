struct item {
    struct item *next;
    char *size;
} *items;
