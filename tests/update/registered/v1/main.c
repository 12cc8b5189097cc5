#define VERSION "1"
#include "registered.h"

static void end_value(void *value)
{
    (void)value;
    say("value");
}

static void end_old_value(void *value)
{
    (void)value;
    printf("an old value of %s\n", VERSION); /* also when `said` is no longer what is shown */
}

static void end_c11_value(void *value)
{
    (void)value;
    say("c11");
}

static void prepare(void)
{
    say("prepare");
}

static void in_parent(void)
{
    say("parent");
}

static void in_child(void)
{
    say("child");
}

static void only_here(void)
{
    say("only here");
}

int main(void)
{
    pthread_key_create(&key, end_value);
    pthread_key_create(&plain_key, free);
    pthread_key_create(&other_key, end_old_value);
    tss_create(&c11_key, end_c11_value);
    pthread_atfork(prepare, in_parent, in_child);
    pthread_atfork(only_here, only_here, NULL);
    serve();
    return 0;
}
