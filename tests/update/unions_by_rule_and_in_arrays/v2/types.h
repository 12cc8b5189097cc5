struct item {
    long weight;
    int number;
};

union number { /* changed as a whole, wherever it is */
    long small;
    double real;
};

struct tagged {
    char is_real;
    union number number;
};

struct around { /* the member around the union is made by a rule */
    int kind;
    union {
        long id;
        struct item *item;
    } what;
};

struct slots { /* one tag for all elements of a flexible array */
    int kind;
    int count;
    union {
        long bits;
        struct item *item;
        struct {
            int length;
            struct item *of;
        } pair;
    } slot[E_ARRAY(self.count)];
};

union alike { /* whichever is in use, it is an item */
    struct item *right, *left;
};

struct object { /* told by its operations, as an interface of C is */
    const struct operations *operations;
    int (*read)(const struct object *);
    union {
        struct item *item;
        long number;
    } of;
};
