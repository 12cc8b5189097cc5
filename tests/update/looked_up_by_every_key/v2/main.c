#include "../common/serve.h"

int global = 1;
static int in_file = 2;
_Thread_local int per_thread = 3;
extern int spaced;
int *spaced_addresses(int which);

static void callback(void)
{
    puts("");
}

void (*pointer)(void) = callback;
static int failed;

static void check(int is_right, const char *what)
{
    if (!is_right)
        printf("%s ", what), failed++;
}

#define IS(address, number) ((address) && *(int *)(address) == (number))

/* All of the running version: outside of an update it is both the old and the new one. */
static void look(int *noted) E_NOTELOCALS
{
    static int in_function = 4;
    int local = 5;

    failed = 0;
    check(GET_OLD_GLOBAL(global) == &global && GET_NEW_GLOBAL(global) == &global, "global");
    check(GET_OLD_STATIC(main.c, in_file) == &in_file, "static");
    check(GET_NEW_STATIC("main.c", in_file) == &in_file, "static by a string");
    check(GET_NEW_LOCAL_STATIC(main.c, look, in_function) == &in_function, "local static");
    check(GET_OLD_LOCAL(look, local) == &local && GET_NEW_LOCAL(look, local) == &local, "local");
    check(GET_NEW_LOCAL(look, noted) == &noted, "parameter");
    check(kitsune_lookup_key_new("per_thread") == &per_thread, "thread-local");
    check(kitsune_lookup_key_new("main.c/callback") == (void *)callback, "function");
    check(kitsune_lookup_key_new("space@spaced") == &spaced, "namespace");
    check(kitsune_lookup_key_new("space@spaced.c/spaced_static") == spaced_addresses(0), "end");
    check(kitsune_get_symbol_addr_new("spaced_local", "spaced_addresses", "spaced.c",
                                      "space") == spaced_addresses(1), "parts");
    check(strcmp(kitsune_lookup_addr_new(&global), "global") == 0, "key of a global");
    check(strcmp(kitsune_lookup_addr_new(&in_file), "main.c/in_file") == 0, "of a static");
    check(strcmp(kitsune_lookup_addr_old(&local), "look#local") == 0, "of a local");
    check(strcmp(kitsune_lookup_addr_new(callback), "main.c/callback") == 0, "of a function");
    check(kitsune_lookup_addr_new((char *)&global + 1) == NULL, "of a middle");
    check(kitsune_get_cur_val("global") == &global && kitsune_get_val("global") == &global, "val");
    check(kitsune_old_address_matches("global", &global), "matches");
    check(!kitsune_old_address_matches("global", &in_file), "matches another");
    check(!kitsune_lookup_key_new("nothing") && !GET_OLD_LOCAL(look, nothing), "nothing");
    check(*noted == 5 || *noted == 0, "argument");
    printf("%d failed\n", failed);
}

/* During an update: what is found in the old version differs from what is found in the new one. */
static void look_back(void)
{
    failed = 0;
    check(IS(GET_OLD_GLOBAL(global), 11) && GET_NEW_GLOBAL(global) == &global, "global");
    check(IS(GET_OLD_STATIC(main.c, in_file), 12), "static");
    check(GET_NEW_STATIC(main.c, in_file) == &in_file, "new static");
    check(IS(GET_OLD_LOCAL_STATIC("main.c", look, in_function), 4), "local static");
    check(IS(GET_OLD_LOCAL(main, local), 15) && !GET_OLD_LOCAL(look, local), "local");
    check(!GET_NEW_LOCAL(main, local), "new local");
    check(IS(kitsune_lookup_key_old("per_thread"), 13), "thread-local");
    check(kitsune_lookup_key_new("per_thread") == &per_thread, "new thread-local");
    check(IS(kitsune_lookup_key_old("space@spaced"), 41), "namespace");
    check(IS(kitsune_lookup_key_old("space@spaced.c/spaced_static"), 42), "end");
    check(IS(kitsune_get_symbol_addr_old("spaced_local", "spaced_addresses", "spaced.c",
                                         "space"), 43), "parts");
    check(IS(kitsune_get_val("global"), 11) && IS(kitsune_get_cur_val("global"), 1), "val");
    check(kitsune_lookup_key_old("main.c/callback") != (void *)callback, "old function");
    check(kitsune_old_address_matches("main.c/callback", **(void ***)&(void *[]){GET_OLD_GLOBAL(pointer)}),
          "function matches");
    check(!kitsune_old_address_matches("main.c/callback", (void *)callback), "new function");
    check(strcmp(kitsune_lookup_addr_old(GET_OLD_GLOBAL(global)), "global") == 0, "old key");
    check(kitsune_lookup_addr_new(GET_OLD_GLOBAL(global)) == NULL, "not the new one's");
    check(strcmp(kitsune_lookup_addr_old(GET_OLD_LOCAL(main, local)), "main#local") == 0, "key");
    printf("%d failed\n", failed);
}

static void answer(const char *word, const char *rest)
{
    int noted = 0;

    (void)word, (void)rest;
    look(&noted);
}

int main(void)
{
    if (kitsune_is_updating())
        look_back();
    serve();
    return 0;
}
