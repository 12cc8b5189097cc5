#define E_NOTELOCALS __kt__(notelocals, "")
struct item {
    int number;
};

int main(void) E_NOTELOCALS
{
    struct item item = {1}, *items[2] = {&item, &item};
    int unasked = 2;
    float moved = 3;

    return items[0]->number + unasked + (int)moved;
}
