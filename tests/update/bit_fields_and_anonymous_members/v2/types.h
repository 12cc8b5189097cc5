enum level { OFF, LOW, HIGH, TOP };

struct bits {
    enum level level : 3;
    unsigned wider : 9;
    int signed_wider : 12;
    int becomes_signed : 8;
    unsigned becomes_plain;
    unsigned flag : 2;
    long across : 20, boundary : 20;
    unsigned narrower : 3;
    enum level levels[3];
    struct bits *self; /* out of one anonymous struct */
    short y;
    struct {
        short x;
        short moved_in; /* and into another */
    };
    int deep;
    union {
        struct {
            long first;
            struct bits *second;
        };
        double real;
    };
};
