struct entry {
    struct entry *next;
    long length;
    char name[8];
};

void entry_add(const char *name);
void entry_list(void);
