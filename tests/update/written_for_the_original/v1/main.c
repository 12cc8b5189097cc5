#include <assert.h>
#include <kitsune.h>
#include <poll.h>
#include <unistd.h>

#include <registervars.h>
#include <stackvars.h>

int x = 100;
static int y = 200;
static char registered[12];
static int arrived;

extern void foo(int formal);

static const char *words(void)
{
    static char word[] = "old";
    return word;
}

static void formal_by_hand(int formal)
{
    stackvars_note_entry("formal_by_hand");
    stackvars_note_formal("formal", &formal, sizeof formal);
    foo(formal + 1);
    stackvars_note_exit("formal_by_hand");
}

int main(int argc, char **argv)
{
    ENTER_FUNC();
    static int z = 300;
    int q = 400;

    (void)argc, (void)argv;
    if (!kitsune_is_updating()) {
        x = 101;
        y = 201;
        z = 301;
        q = 401;
        strcpy(registered, words());
    }
    kitsune_register_var("by hand", NULL, "elsewhere.c", "space", registered, sizeof registered, 1);
    kitsune_note_var("arrived", NULL, "elsewhere.c", NULL, &arrived, sizeof arrived);

    MIGRATE_GLOBAL(x);
    NOTE_AND_MIGRATE_LOCAL_STATIC(main, z);
    NOTE_AND_MIGRATE_STATIC(y);
    NOTE_AND_MIGRATE_LOCAL(q);
    arrived = x + y + z + q;

    formal_by_hand(7);
    EXIT_FUNC();
    return 0;
}

void foo(int formal)
{
    ENTER_FUNC();
    static int z = 350;
    int q = 450;

    if (!kitsune_is_updating()) {
        z = 302;
        q = 402;
    }
    NOTE_LOCAL(formal);
    NOTE_AND_MIGRATE_LOCAL_STATIC(foo, z);
    NOTE_AND_MIGRATE_LOCAL(q);
    for (;;) {
        char line[16];
        struct pollfd input = {.fd = 0, .events = POLLIN};

        kitsune_update("test");
        if (poll(&input, 1, -1) != 1)
            continue;
        if (read(0, line, sizeof line) <= 0)
            break;
        printf("%d %d %d %d %s\n.\n", arrived, z, q, formal, registered);
        fflush(stdout);
    }
    EXIT_FUNC();
}
