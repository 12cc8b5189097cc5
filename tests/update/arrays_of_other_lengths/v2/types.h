#define NAME 16
#define CELLS 3
#define ROWS 4
#define SHORT 2
#define LINKS 3

struct part {
    long weight;
    int number;
    struct part *other;
};
