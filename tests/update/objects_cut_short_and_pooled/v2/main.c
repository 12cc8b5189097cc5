/* Names in objects of three sizes: from a pool, exactly as long as the text, and aliases. */
#include "serve.h"

#include <stddef.h>
#include <stdlib.h>

struct name {
    struct name *next;
    int kind; /* 0: of the pool, 1: as long as its text, 2: an alias */
    long seen;
    union {
        char text[32];
        char *target;
    } u;
};

static struct name *names, *unused;

static void fill_pool(void)
{
    struct name *pool = calloc(8, sizeof *pool);

    for (int i = 0; i < 8; i++, pool++) {
        pool->next = unused;
        unused = pool;
    }
}

static struct name *take(const char *word, const char *text)
{
    struct name *name = unused;

    if (strcmp(word, "pool") == 0) {
        unused = name->next;
        snprintf(name->u.text, sizeof name->u.text, "%s", text);
    } else if (strcmp(word, "exact") == 0) {
        name = malloc(offsetof(struct name, u) + strlen(text) + 1);
        name->kind = 1;
        name->seen = 0;
        memcpy((char *)name + offsetof(struct name, u), text, strlen(text) + 1);
    } else { /* of a part of the first name that has the text */
        struct name *whole = names;
        while (strstr((char *)whole + offsetof(struct name, u), text) == NULL)
            whole = whole->next;
        name = malloc(offsetof(struct name, u) + sizeof(char *));
        name->kind = 2;
        name->seen = 0;
        name->u.target = strstr((char *)whole + offsetof(struct name, u), text);
    }
    return name;
}

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "list") == 0) {
        for (const struct name *name = names; name != NULL; name = name->next)
            printf("%s%s %ld\n", name->kind == 2 ? "> " : "",
                   name->kind == 2 ? name->u.target : (const char *)name + offsetof(struct name, u),
                   name->seen);
    } else {
        struct name *name = take(word, rest);
        name->next = names;
        names = name;
    }
}

int main(void)
{
    if (!kitsune_is_updating())
        fill_pool();
    kitsune_do_automigrate();
    serve();
    return 0;
}
