/* Fields swap their names and back; lists of sys/queue.h; statics move and are renamed. */
#include "serve.h"
#include <sys/queue.h>
#include <time.h>
#include <sys/socket.h>
#include <netinet/in.h>
typedef int number;
enum mode { LAST = 3, QUICK, SLOW };
struct entry {
    number b;
    number a;
    struct entry *next, **prev;
    enum mode m;
    unsigned short port;
    long when[2];
    struct sockaddr_in addr;
    const char *name;
    union {
        long l;
        unsigned char c[8];
    } u;
    LIST_ENTRY(entry) link;
};
static LIST_HEAD(, entry) list = LIST_HEAD_INITIALIZER(list);
extern struct entry *first_(void);
extern void set_first(struct entry *);
extern struct entry **first_at(void);
#define head (*first_at())
static struct { int x, y; struct entry *best; } anon = {1, 2, 0};
typedef struct { int t; struct entry *i[2]; } tdanon;
static tdanon td;
static int grid[2][3];
int *gp;
struct entry stat_items[3];
struct entry *ptr_stat = &stat_items[1];
struct entry **ptr_ptr = &ptr_stat;
void (*handlers[6])(int);
static int seen;
static void h1(int x) { seen += x; }
static void h2(int x) { seen += 10 * x; }
struct { const char *n; void (*f)(int); } dispatch[] = { {"h1", h1}, {"h2", h2} };
static int bump(void) { static int times; static int calls2 = 5; return ++times + calls2; }
static int other(void) {
    static int calls = 50;
    {
        static char calls = 7;
        calls++;
        if (calls > 100) return 0;
    }
    return ++calls;
}
static void answer(const char *word, const char *rest) {
    (void)rest;
    if (strcmp(word, "set") == 0) {
        for (int i = 0; i < 3; i++) {
            struct entry *n = calloc(1, sizeof *n);
            n->b = i;
            n->a = i * 10;
            n->next = head;
            n->prev = &head;
            if (head) head->prev = &n->next;
            head = n;
            n->m = i == 1 ? QUICK : i ? LAST : SLOW;
            n->port = 80;
            n->when[1] = i;
            n->addr.sin_port = htons(99);
            n->name = i ? "named" : NULL;
            n->u.l = 0x0102 + i;
            LIST_INSERT_HEAD(&list, n, link);
        }
        anon.best = head->next;
        td.t = 4;
        td.i[1] = head;
        grid[1][2] = 12;
        gp = &grid[1][2];
        stat_items[1].b = 111;
        handlers[0] = h1;
        handlers[3] = dispatch[1].f;
    }
    for (struct entry *n = head; n; n = n->next) printf("%d/%d m%d p%d %ld %d %s %lx %d; ",
        n->b, n->a, n->m, n->port, n->when[1], ntohs(n->addr.sin_port), n->name ? n->name : "-",
        n->u.l, *n->prev == n);
    struct entry *n; int c = 0; LIST_FOREACH(n, &list, link) c += n->b + 1;
    seen = 0; handlers[0](1); handlers[3](2); dispatch[0].f(100);
    printf("\n%d %d %d %d %d %d %d %d %d %d %d %d\n", c, anon.best == head->next, td.t,
        td.i[1] == head, *gp, gp == &grid[1][2], ptr_stat->b, ptr_stat == &stat_items[1],
        ptr_ptr == &ptr_stat, seen, bump(), other());
}
int main(void) { kitsune_do_automigrate(); serve(); return 0; }
