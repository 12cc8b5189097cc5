#define NAME 8
#define CELLS 2
#define ROWS 2
#define SHORT 4
#define LINKS 2

struct part {
    int number;
    struct part *other;
};
