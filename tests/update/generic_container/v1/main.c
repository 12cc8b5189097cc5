#include "list.h"
#include "serve.h"

struct point {
    int x, y;
};

struct name {
    char text[16];
};

static struct list E_G(struct point) points;
static struct list E_G(struct name) *names;

static void answer(const char *word, const char *rest)
{
    if (strcmp(word, "point") == 0) {
        struct point *point = calloc(1, sizeof *point);
        sscanf(rest, "%d %d", &point->x, &point->y);
        list_append(&points, point);
    } else if (strcmp(word, "name") == 0) {
        struct name *name = calloc(1, sizeof *name);
        snprintf(name->text, sizeof name->text, "%s", rest);
        list_append(names, name);
    } else {
        for (struct link *link = points.first; link; link = link->next)
            printf("%d/%d\n", ((struct point *)link->value)->x, ((struct point *)link->value)->y);
        for (struct link *link = names->first; link; link = link->next)
            printf("%s\n", ((struct name *)link->value)->text);
        printf("%d+%d\n", points.length, names->length);
    }
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating())
        names = calloc(1, sizeof *names);
    serve();
    return 0;
}
