#define E_NOTELOCALS __kt__(notelocals, "")

struct point {
    int x, y;
    struct point *next;
};

int was_global = 1;
static struct point fixed;
void update(void);

int main(int argc, char **argv) E_NOTELOCALS
{
    static int was_static = 2;
    struct point point = {argc, 2, &fixed}, *alias = &point;
    int number = 3, other[2] = {4, 5};
    char text[8] = "text";

    update();
    {
        long number = 6;

        update();
        number++;
    }
    return *other + text[0] + alias->y + number + was_static + argv[0][0];
}
