struct item {
    int count;
};

struct item item;
