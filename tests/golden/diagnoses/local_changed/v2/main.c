#define E_NOTELOCALS __kt__(notelocals, "")
#define MIGRATE_LOCAL(v) kitsune__migrate_local(__func__, #v, (void *)&(v))
int kitsune__migrate_local(const char *, const char *, void *);
struct item {
    int number, added;
};

int main(void)
{
    struct item *items[2];
    long unasked = 2;
    int moved;

    MIGRATE_LOCAL(moved);
    return MIGRATE_LOCAL(items) + items[0]->added + (int)unasked + moved;
}
