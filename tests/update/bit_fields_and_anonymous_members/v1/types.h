enum level { LOW, HIGH, TOP };

struct bits {
    unsigned wider : 3;
    int signed_wider : 4;
    unsigned becomes_signed : 5;
    unsigned becomes_plain : 7;
    enum level level : 2;
    _Bool flag : 1;
    int across : 20, boundary : 20;
    unsigned narrower : 9;
    enum level levels[3];
    short moved_in;
    struct {
        short x, y;
        struct {
            int deep;
            struct bits *self;
        };
    };
    union {
        struct {
            int first;
            struct bits *second;
        };
        double real;
    };
};
