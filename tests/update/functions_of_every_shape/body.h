/* Function pointers in every place that C has for them, of the program and of libraries. */
#include <ctype.h>
#include <stdlib.h>
#include "serve.h"

typedef int (*unary)(int);
typedef unary (*chooser)(int);
typedef unary unary_again;
typedef int function(int); /* a function type, not a pointer */

static int plus(int c) { return c + STEP; }
static int twice(int c) { return 2 * c; }
int shown(c) int c; { return c + 100; }
static int sum(int count, ...)
{
    __builtin_va_list list;
    int total = 0;

    __builtin_va_start(list, count);
    for (int i = 0; i < count; i++)
        total += __builtin_va_arg(list, int);
    __builtin_va_end(list);
    return total;
}
static unary choose(int which) { return which ? plus : twice; }
static chooser choose_twice(void) { return choose; }

struct table {
    EXTRA
    unary row[3];
    unary grid[2][2];
    function *plain;
    int (*(*choose)(int))(int);
    int (*(*(*deep)(void))(int))(int);
    int (*variadic)(int, ...);
    int (*unprototyped)();
    union {
        unary one;
        int (*many)(int, ...);
    } either;
    unary *pointer;  /* to a pointer to a function */
    unary *const *far;
    unary_again again;
    int (*of_library)(int);
    size_t (*length)(const char *);
    FILE *stream;
    const char *const *names;
};

static const char *const names[] = {"zero", "one", "two"};
static const unary constants[] = {plus, twice};
static struct table *table;
static unary one = plus;
static unary *pointer_to_one = &one;

static void fill(void)
{
    table = calloc(1, sizeof *table);
    *table = (struct table){
        .row = {plus, twice, shown},
        .grid = {{plus, twice}, {twice, plus}},
        .plain = plus,
        .choose = choose,
        .deep = choose_twice,
        .variadic = sum,
        .unprototyped = shown,
        .either = {.many = sum},
        .pointer = &table->row[1],
        .far = &pointer_to_one,
        .again = twice,
        .of_library = toupper,
        .length = strlen,
        .stream = stdout,
        .names = names + 1,
    };
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "fill") == 0)
        fill();
    printf("%d %d %d %d %d %d\n", table->row[0](1), table->row[1](1), table->row[2](1),
           table->grid[0][1](3), table->grid[1][1](3), table->plain(5));
    printf("%d %d %d %d %d\n", table->choose(1)(1), table->deep()(0)(4), table->variadic(2, 3, 4),
           ((int (*)(int))table->unprototyped)(1), table->either.many(3, 1, 2, 3));
    printf("%d %d %d %c %zu %d\n", (*table->pointer)(4), (**table->far)(1), table->again(8),
           table->of_library('x'), table->length("four"), table->stream == stdout);
    printf("%s %d %d\n", table->names[1], table->names == names + 1, constants[0](1));
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
