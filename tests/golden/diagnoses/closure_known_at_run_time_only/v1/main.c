#include <kitsune.h>

struct list {
    void E_T(@t) *data;
    struct list E_G(@t) *next;
} E_GENERIC(@t);

static struct list E_G(int) *numbers;
static struct list *any;
int count;

int main(void)
{
    return numbers == any;
}
