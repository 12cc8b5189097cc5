struct item {
    int number;
};

union number { /* changed as a whole, wherever it is */
    int small;
    float real;
};

struct tagged {
    char is_real;
    union number number;
};

struct around { /* the member around the union is made by a rule */
    int kind;
    union {
        int id;
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
            short length;
            struct item *of;
        } pair;
    } slot[E_ARRAY(self.count)];
};

union alike { /* whichever is in use, it is an item */
    struct item *left, *right;
};

struct object { /* told by its operations, as an interface of C is */
    const struct operations *operations;
    int (*read)(const struct object *);
    union {
        struct item *item;
        long number;
    } of;
};
