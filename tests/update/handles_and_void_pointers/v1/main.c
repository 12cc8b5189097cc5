/* An opaque handle, a 'void *' with an element type, rules for members and a variable. */
#include "serve.h"
#include "h.h"
struct ctx { void *data; handle_t h; callback cb; const char *(*str)(int); };
struct reg { int used; struct ctx **slots; };
static struct reg reg;
static int total = 3;
char **names;
static const char *str(int i) { static const char *const t[] = {"x", "y", "z"}; return t[i]; }
static handle_t handles[2];
static struct data *volatile vol;
static struct ctx *const *constp;
static _Atomic int at;
static _Bool flag;
static char text[16] = "text";
static char *in_text = text + 2;
const char *lit = "a literal";
static void cb(handle_t h, void *x) { (void)x; (void)h; total++; }
static void answer(const char *word, const char *rest) {
    (void)rest;
    if (strcmp(word, "set") == 0) {
        handles[0] = handle_new(5); handles[1] = handle_new(6);
        reg.slots = calloc(3, sizeof *reg.slots); reg.used = 2;
        for (int i = 0; i < 2; i++) {
            struct ctx *c = reg.slots[i] = calloc(1, sizeof *c);
            c->data = handle_data(handles[i]);
            c->h = handles[1 - i];
            c->cb = cb;
            c->str = str;
        }
        names = calloc(3, sizeof *names); names[0] = strdup("one"); names[1] = strdup("text");
        vol = handle_data(handles[1]); constp = &reg.slots[1]; at = 5; flag = 1; text[3] = 'T';
    }
    printf("%d %d %d\n", handle_get(handles[0]), handle_get(handles[1]), reg.slots[2] == NULL);
    for (int i = 0; i < 2; i++) {
        struct ctx *c = reg.slots[i];
        c->cb(c->h, 0);
        printf("%d %s %d %s; ", c->data == handle_data(handles[i]),
            ((struct data *)c->data)->kind, c->h == handles[1 - i], c->str(i));
    }
    printf("\n%s %d %d %d %d %d %s %d %s\n", names[0], strcmp(names[1], "text") == 0, vol->v,
        *constp == reg.slots[1], at, flag, in_text, in_text == text + 2, lit);
    printf("%d\n", (int)(total * 10));
}
int main(void) { kitsune_do_automigrate(); serve(); return 0; }
