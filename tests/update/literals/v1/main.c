#include "serve.h"

struct color {
    const char *name;
    int value;
    struct color *next;
};

struct note {
    const char *text; /* its type does not change: the object is not visited */
};

static struct color *colors;
static struct note *note;
static const char *motto = "live and let live";
static const char *const fixed[] = {"zero", "one"};
static const char *word_of_day = "one";

static void add(const char *name, int value)
{
    struct color *color = calloc(1, sizeof *color);

    color->name = name;
    color->value = value;
    color->next = colors;
    colors = color;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    for (const struct color *color = colors; color; color = color->next)
        printf("%s=%d\n", color->name, color->value);
    printf("%s;%s;%s;%s\n", note->text, motto, fixed[1], word_of_day);
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        add("a red that only version one knows", 1);
        add("blue", 2);
        note = malloc(sizeof *note);
        note->text = "said by version one";
        word_of_day = fixed[1];
    }
    serve();
    return 0;
}
