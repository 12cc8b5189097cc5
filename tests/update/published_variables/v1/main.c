#include <kitsune.h>
#include <ktlog.h>

#include "serve.h"

int x = 100;
static int y = 200;
int (*callback)(void), (*mapped)(void), (*direct)(void);
static int *out_q, *out_z;

static int first(void)
{
    return 1;
}

int first_global(void)
{
    return 10;
}

static int stays(void)
{
    return 3;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %d | %d %d %d\n", x, y, *out_z, *out_q, callback(), mapped(), direct());
}

int main(void) E_NOTELOCALS
{
    static int z = 300;
    int q = 400;

    if (!kitsune_logging_init("scenario"))
        return 1;
    if (!kitsune_is_updating()) {
        x++, y++, z++, q++;
        callback = first;
        mapped = first_global;
        direct = stays;
    }
    MIGRATE_GLOBAL(x);
    MIGRATE_LOCAL_STATIC(main, z);
    MIGRATE_STATIC(y);
    MIGRATE_LOCAL(q);
    MIGRATE_GLOBAL(callback);
    MIGRATE_GLOBAL(mapped);
    MIGRATE_GLOBAL(direct);
    out_q = &q;
    out_z = &z;
    serve();
    return 0;
}
