#include <kitsune.h>
#include <poll.h>
#include <unistd.h>

#include <registervars.h>
#include <stackvars.h>

int x = 100;
static int y = 200;
static char registered[12];
static int arrived, looked_up;

extern void foo(int formal);

static int by_hand(void *value)
{
    *(int *)value = **(int **)&(void *[]){GET_OLD_STATIC(main.c, y)} + 1000;
    return 1;
}

static void formal_by_hand(int formal)
{
    stackvars_note_entry("formal_by_hand");
    stackvars_note_formal("formal", &formal, sizeof formal);
    if (kitsune_migrate_var("formal", __func__, 0, 0, &formal, sizeof formal, 0))
        formal += stackvars_get_formal_new("formal_by_hand", "formal") == &formal ? 10 : 0;
    foo(formal + 1);
    stackvars_note_exit("formal_by_hand");
}

int main(int argc, char **argv)
{
    ENTER_FUNC();
    static int z = 300;
    int q = 400;

    (void)argc, (void)argv;
    kitsune_register_var("by hand", NULL, "elsewhere.c", "space", registered, sizeof registered, 1);
    kitsune_note_var("arrived", NULL, "elsewhere.c", NULL, &arrived, sizeof arrived);
    if (kitsune_is_updating()) {
        char *key = kitsune_get_symbol_key("by hand", NULL, "elsewhere.c", "space");
        char *old = kitsune_lookup_key_old(key);

        looked_up = strcmp(key, "space@elsewhere.c/by hand") == 0 && strcmp(old, "old") == 0;
        free(key);
    }
    kitsune_do_automigrate();
    MIGRATE_GLOBAL(x);
    NOTE_AND_MIGRATE_LOCAL_STATIC(main, z);
    kitsune_migrate_var("y", 0, "main.c", 0, &y, sizeof y, by_hand);
    NOTE_AND_MIGRATE_LOCAL(q);
    kitsune_migrate_var("arrived", NULL, "elsewhere.c", NULL, &arrived, sizeof arrived, NULL);
    printf("%d %d %d %d %d %d ", x, y, z, q, arrived, looked_up);

    formal_by_hand(3);
    EXIT_FUNC();
    return 0;
}

void foo(int formal)
{
    ENTER_FUNC();
    static int z = 350;
    int q = 450;

    NOTE_LOCAL(formal);
    NOTE_AND_MIGRATE_LOCAL_STATIC(foo, z);
    NOTE_AND_MIGRATE_LOCAL(q);
    if (kitsune_is_updating())
        printf("%d\n", *(int *)stackvars_get_local("foo", "formal"));
    for (;;) {
        char line[16];
        struct pollfd input = {.fd = 0, .events = POLLIN};

        kitsune_update("test");
        if (poll(&input, 1, -1) != 1)
            continue;
        if (read(0, line, sizeof line) <= 0)
            break;
        printf("%d %d %d %s\n.\n", z, q, formal, registered);
        fflush(stdout);
    }
    EXIT_FUNC();
}
