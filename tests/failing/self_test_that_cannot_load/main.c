#include <kitsune.h>

struct state {
#ifdef HITS
    int hits;
#endif
    unsigned level : 5;
    char kind;
};

struct state state;

int main(void)
{
    kitsune_do_automigrate();
    kitsune_update("main");
    return state.level;
}
