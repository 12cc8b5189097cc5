/* Fields swap their names and back; lists of sys/queue.h; statics move and are renamed. */
#include "serve.h"
#include <sys/queue.h>
#include <time.h>
#include <sys/socket.h>
#include <netinet/in.h>
typedef int num;
enum mode { SLOW, FAST = 10, LAST };
struct item {
    num a;
    num b;
    struct item *next, **prev;
    enum mode m;
    unsigned short port;
    long long when[2];
    struct sockaddr_in addr;
    const char *name;
    union {
        long l;
        unsigned char c[8];
        int i;
    } u;
    LIST_ENTRY(item) link;
};
static LIST_HEAD(, item) list = LIST_HEAD_INITIALIZER(list);
static struct item *head;
static struct { int x, y; struct item *best; } anon = {1, 2, 0};
typedef struct { int t; struct item *i[2]; } tdanon;
static tdanon td;
static int grid[2][3];
int *gp;
struct item stat_items[3];
struct item *ptr_stat = &stat_items[1];
struct item **ptr_ptr = &ptr_stat;
void (*handlers[6])(int);
static int seen;
static void h1(int x) { seen += x; }
static void h2(int x) { seen += 10 * x; }
struct { const char *n; void (*f)(int); } dispatch[] = { {"h1", h1}, {"h2", h2} };
static int bump(void) { static int calls; static int calls2 = 5; return ++calls + calls2; }
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
            struct item *n = calloc(1, sizeof *n);
            n->a = i;
            n->b = i * 10;
            n->next = head;
            n->prev = &head;
            if (head) head->prev = &n->next;
            head = n;
            n->m = i == 1 ? FAST : i ? LAST : SLOW;
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
        stat_items[1].a = 111;
        handlers[0] = h1;
        handlers[3] = dispatch[1].f;
    }
    for (struct item *n = head; n; n = n->next) printf("%d/%d m%d p%d %lld %d %s %lx %d; ",
        n->a, n->b, n->m, n->port, n->when[1], ntohs(n->addr.sin_port), n->name ? n->name : "-",
        n->u.l, *n->prev == n);
    struct item *n; int c = 0; LIST_FOREACH(n, &list, link) c += n->a + 1;
    seen = 0; handlers[0](1); handlers[3](2); dispatch[0].f(100);
    printf("\n%d %d %d %d %d %d %d %d %d %d %d %d\n", c, anon.best == head->next, td.t,
        td.i[1] == head, *gp, gp == &grid[1][2], ptr_stat->a, ptr_stat == &stat_items[1],
        ptr_ptr == &ptr_stat, seen, bump(), other());
}
int main(void) { kitsune_do_automigrate(); serve(); return 0; }
