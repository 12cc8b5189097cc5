#include "serve.h"

static int value;
int other;
static int seen_by_prestart E_MANUAL_MIGRATE, seen_by_mainupdate E_MANUAL_MIGRATE;

void _kitsune_prestart_xform(void)
{
    seen_by_prestart = *(int *)GET_OLD_STATIC("main.c", value);
}

void _kitsune_mainupdate_xform(void)
{
    seen_by_mainupdate = other;
    other = 1000;
}

static void answer(const char *word, const char *rest)
{
    (void)word, (void)rest;
    printf("%d %d %d %d\n", value++, other++, seen_by_prestart, seen_by_mainupdate);
}

int main(void)
{
    kitsune_do_automigrate();
    serve();
    return 0;
}
