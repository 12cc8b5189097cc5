#define E_NOTELOCALS __kt__(notelocals, "")
#define MIGRATE_LOCAL(v) kitsune__migrate_local(__func__, #v, (void *)&(v))
int kitsune__migrate_local(const char *, const char *, void *);

struct point {
    long y;
    struct point *next;
    int weight, x;
};

static int was_a_local;
static struct point fixed;
void update(void);

static int in_function(int from_a_parameter) E_NOTELOCALS
{
    int from_a_global, from_a_static;

    return MIGRATE_LOCAL(from_a_parameter) + MIGRATE_LOCAL(from_a_global) +
           MIGRATE_LOCAL(from_a_static) + from_a_global + from_a_static;
}

int main(int argc, char **argv) E_NOTELOCALS
{
    struct point point, *alias;
    int not_asked_for, fresh;
    long number;
    char text[8];

    MIGRATE_LOCAL(point), MIGRATE_LOCAL(alias), MIGRATE_LOCAL(text), MIGRATE_LOCAL(fresh);
    {
        long number;

        MIGRATE_LOCAL(number);
        number++;
    }
    update();
    return MIGRATE_LOCAL(number) + alias->weight + fresh + text[0] + was_a_local + in_function(0) +
           not_asked_for + argc + argv[0][0];
}
