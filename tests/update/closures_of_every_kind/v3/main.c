#include "serve.h"

struct item {
    long serial;
    int n;
};

/* Generic in what `data` points to and in what `word` is. */
struct list {
    int visits;
    void E_T(@t) * data;
    void *E_T(@w) word;
    struct list E_G(@t, @w) * next;
} E_GENERIC(@t, @w);

struct box {
    struct item *one, *many, *ended, **pp;
    int count;
    struct item row[2];
    char *name, *bytes;
    int (*fn)(int);
    void *nothing;
    void *hidden; /* a struct list of items and words */
};

static int twice(int n)
{
    return 3000 * n;
}

static struct box *box;
static struct list E_G(struct item, [opaque]) * items;
static struct list E_G(char, struct item *) * names;

static struct list *add(struct list *next, void *data, void *word)
{
    struct list *made = calloc(1, sizeof *made);

    made->data = data;
    made->word = word;
    made->next = next;
    return made;
}

static struct item *item(int n)
{
    struct item *made = malloc(sizeof *made);

    made->n = n;
    made->serial = 1;
    return made;
}

static void start(void)
{
    box = calloc(1, sizeof *box);
    box->one = item(1);
    box->many = calloc(3, sizeof(struct item));
    box->ended = calloc(3, sizeof(struct item));
    box->ended[0].n = 10;
    box->ended[1].n = 11;
    box->count = 3;
    for (int i = 0; i < 3; i++)
        box->many[i].n = 20 + i;
    box->pp = malloc(sizeof *box->pp);
    *box->pp = box->one;
    box->row[1].n = 31;
    box->name = strdup("name");
    box->bytes = "another";
    box->fn = twice;
    items = add(add(NULL, item(41), (void *)42l), box->one, (void *)43l);
    names = add(NULL, "a", box->one);
    box->hidden = items;
}

static void answer(const char *word, const char *rest)
{
    (void)rest;
    if (strcmp(word, "box") == 0)
        printf("v3 %ld %ld %ld %d %d %d %d %d %d %s %s %d\n", box->one->serial, box->many[2].serial,
               box->ended[1].serial, box->one->n, box->many[2].n, box->ended[1].n,
               *box->pp == box->one, box->row[1].n, box->fn(4), box->name, box->bytes,
               box->hidden == items);
    else
        printf("v3 %d %d %d %ld %d %s %d\n", items->visits, names->visits, ((struct item *)items->data)->n, (long)items->next->word,
               items->data == box->one, (char *)names->data,
               ((struct item *)names->word)->n);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        start();
    serve();
    return 0;
}
