#include "serve.h"

#include <ctype.h>
#include <dlfcn.h>
#include <error.h>
#include <link.h>

/* What hides addresses from the types: nothing says what is behind a `void *`. */
struct operations {
    int (*apply)(int);
    const char *label;
};

struct slot {
    int before, number;
};

/* What was written over a part of what a pointer has left. */
struct remains {
    unsigned char is_set; /* and no more of its eight bytes */
    unsigned int hash __attribute__((aligned(8))); /* the other half is padding */
    char label[25] __attribute__((aligned(8))); /* nor is there anything behind its zero */
};

struct box {
    void *function, *operations, *inside, *text, *library, *last;
    long looks_like_none;
    struct link_map *map;
    unsigned long in_map; /* the complement of what was put there */
};

static int next(int c)
{
    return c + 1;
}

static int gone(int c)
{
    return c;
}

static void tell(void)
{
    printf("one ");
}

static struct operations operations = {next, "next"};
static struct slot slots[4] = {{1, 10}, {2, 20}, {3, 30}, {4, 40}};
static void *hidden, *large;
static struct remains *remains;
static unsigned int not_hash; /* its complement */

/* So long that all addresses which differ in the last byte only are in it. */
#define LINE "sixteen letters."
#define LINES LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE LINE
static const char *volatile long_text = LINES LINES;
static struct box *known;

#define LARGE (1 << 20)
#define MANY 400
#define MEDIUM (1 << 16) /* so many of them are looked through on several processors */

static void *many[MANY];

static void leave_remains(void)
{
    const char *middle = long_text + sizeof LINES;

    remains = malloc(sizeof *remains);
    for (void **word = (void **)remains; word + 1 <= (void **)(remains + 1); word++)
        memcpy(word, &middle, sizeof middle);
    remains->is_set = 1;
    /* What malloc has left are addresses of a library, of whose upper half the image is not. */
    *(void **)&remains->hash = (void *)toupper;
    memcpy(&remains->hash, &(void *){(void *)next}, sizeof remains->hash);
    not_hash = ~remains->hash;
    strcpy(remains->label, "twenty-four letters long");
}

static void fill(void)
{
    struct box *box = malloc(sizeof *box);
    void **words = malloc(LARGE);

    *box = (struct box){(void *)next, &operations, &slots[2].number, "a text of one", (void *)toupper, (void *)gone, -1, NULL, 0};
    hidden = known = box;
    leave_remains();
    memset(words, 0, LARGE);
    words[LARGE / sizeof *words - 1] = (void *)next;
    large = words;
    for (int i = 0; i < MANY; i++) {
        many[i] = memset(malloc(MEDIUM), 0, MEDIUM);
        ((void **)many[i])[i] = (void *)next;
    }
    error_print_progname = tell; /* a variable of a library */
    /* As an address that the linker computes with may: it lies in the program's image by chance. The linker
     * itself looks at this member only while it loads. */
    box->map = dlopen("libm.so.6", RTLD_NOW);
    box->map->l_ld = (void *)&slots[1];
    box->in_map = ~(unsigned long)&slots[1];
}

static int all_agree(const struct box *box, void **words)
{
    for (int i = 0; i < MANY; i++)
        if (((void **)many[i])[i] != box->function)
            return 0;
    return box->function == words[LARGE / sizeof *words - 1] && known == hidden;
}

static void answer(const char *word, const char *rest)
{
    const struct box *box = hidden;
    const struct operations *each = box->operations;
    void **words = large;

    if (strcmp(word, "free") == 0) { /* a stale address in memory that is nobody's */
        void **stale = malloc(4096);

        stale[100] = (void *)gone;
        free(stale);
    }
    (void)rest;
    error_print_progname();
    printf("1 %c %c %s %d %s %c %d\n", ((int (*)(int))box->function)(*word), each->apply(*word), each->label,
           *(int *)box->inside, (const char *)box->text, ((int (*)(int))box->library)(*word),
           all_agree(box, words));
    printf("%d %s %d\n", remains->is_set, remains->label, remains->hash == ~not_hash);
    printf("%c %ld %s\n", ((int (*)(int))box->last)(*word), box->looks_like_none,
           ~(unsigned long)box->map->l_ld == box->in_map ? "linker's own" : "changed");
}

/* The exit status tells if it is called twice: the launcher's own list is none of the program's state. */
static void bye(void)
{
    static int calls;

    if (++calls > 1)
        _exit(9);
}

int main(void)
{
    kitsune_do_automigrate();
    atexit(bye);
    if (!kitsune_is_updating())
        fill();
    serve();
    return 0;
}
