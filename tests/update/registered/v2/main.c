#define VERSION "2"
#include "registered.h"

static void end_new_value(void *value)
{
    (void)value;
    say("value");
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

static void added(void)
{
    say("added");
}

int main(void)
{
    kitsune_do_automigrate();
    if (!kitsune_is_updating()) {
        pthread_key_create(&key, end_new_value);
        tss_create(&c11_key, end_c11_value);
    }
    pthread_atfork(prepare, in_parent, in_child);
    pthread_atfork(NULL, NULL, added);
    crash_if_told();
    serve();
    return 0;
}
