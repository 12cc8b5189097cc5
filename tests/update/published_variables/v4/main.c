#include <kitsune.h>
#include <ktlog.h>

#include "serve.h"

int x = 100;
static int y = 200;
int (*callback)(void), (*mapped)(void), (*direct)(void);
static int *out_q, *out_z;

static int second(void)
{
    return 100;
}

int second_global(void)
{
    return 1000;
}

static int stays(void)
{
    return 30;
}

/* The names of functions that this version gave up, for pointers to them. */
__attribute__((constructor)) static void register_renames(void)
{
    transform_register_renaming("main.c/first", "main.c/second");
    transform_register_renaming("first_global", "second_global");
}

static DEF_XFORM_FUNC_PTR(map_functions, stays, second)

int GLOBAL_XFORM(direct)(void *new_value)
{
    void **old_value = kitsune_lookup_key_old("direct");

    *(void **)new_value = map_functions(*old_value);
    return *(void **)new_value != *old_value;
}

int GLOBAL_XFORM(callback)(void *new_value)
{
    transform_fptr(GET_OLD_GLOBAL(callback), new_value, 0, NULL);
    return 1;
}

int LOCAL_XFORM(main, q)(void *new_value)
{
    char *key = kitsune_get_symbol_key("q", "main", NULL, NULL);
    int *old_value = kitsune_lookup_key_old(key);

    if (strcmp(key, "main#q") == 0 && kitsune_get_xform("q", "main", NULL, NULL))
        *(int *)new_value = *old_value + 1;
    kitsune_free(key);
    return strcmp(transform_mapped_name("main.c/first"), "main.c/second") == 0 &&
           !transform_mapped_name("main.c/stays");
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
        callback = second;
        mapped = second_global;
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
