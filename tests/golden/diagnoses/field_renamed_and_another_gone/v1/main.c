struct item {
    int first;
    long total_bytes;
    short spare;
    char *name;
} *items;
