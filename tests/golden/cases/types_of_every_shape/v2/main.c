#include <stdio.h>
#include <stdarg.h>
#include <netinet/in.h>
struct library;
enum __attribute__((packed)) small { ONE = 1, TWO };
enum sign { MINUS = -1, PLUS = 1 };
typedef int (*(*chooser)(int, struct odd *, char *[2]))(double, ...);
typedef struct { int x, y; } pair_t;
union number { int i; double d; };
struct odd {
    char tag;
    int added;
    short half __attribute__((packed));
    pair_t corners[2][3];
    union { struct { int a, b; }; long long both; };
    struct { unsigned lo : 4, : 0, hi : 12; } bits;
    enum small small;
    enum sign sign;
    long double wide __attribute__((aligned(32)));
    _Bool is_set;
    __int128 huge;
    union number number;
    chooser choose;
    void (*table[2])(void);
    const char *const *names;
    FILE *log;
    struct library *library;
    struct sockaddr_in6 peer;
    int (*matrix)[4];
    struct odd *next, **others;
    struct { struct odd *back; int depth; } link;
} __attribute__((aligned(64)));
struct odd odd;
static struct { struct odd *first; int count; } list = { &odd, 1 };
_Complex double rotation;
int matrix[2][4];
long *use(void) { return (long *)list.first; }
