struct item {
    int first;
    long bytesTotal;
    char *name;
} *items;
