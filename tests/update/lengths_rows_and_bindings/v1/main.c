/* Lengths over globals and constants, pointers to rows, nested bindings, enums in another order. */
#include "serve.h"
enum { PER = 2 };
enum kind { K_A, K_B, K_C };
struct cell { int v; };
struct limits { int width, rows; };
struct conf { struct limits limits; } conf = {{1, 2}};
int block_count;
struct cell *blocks;
struct cell *blocks2;
struct matrix { struct { int r, c; } dim; struct cell *rows; } matrix;
struct holder {
    struct {
        struct {
            int count2;
        };
    };
    int count;
    struct {
        int size;
    } inner;
    struct {
        struct cell *list;
        int count;
    } in;
    struct {
        struct cell *E_PTRARRAY(self.inner.size) values;
    };
} holder;
struct sized { int n; struct cell *p; } sized;
typedef struct cell *E_PTRARRAY(3) cells;
struct three { cells c; } three;
struct pair_table E_GENERIC(@k, @v) {
    struct pair_table E_G(@k, @v) *next;
    void E_T(@k) *key;
    void E_T(@v) *value;
} ;
struct pair_table E_G([opaque], struct cell) *table;
struct pair_table E_G(struct cell, struct pair_table<struct cell, int>) *deep;
enum kind kind = K_B;
enum kind kinds[4] = {K_A, K_B, K_C, K_C};
static int removed_cmp(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
int (*cmp)(const void *, const void *) = removed_cmp;
void *(*alloc)(size_t) = malloc;
struct cell garr[3][2];
struct cell *into_garr;
struct cell (*row)[2];
int *deep_in;
struct cell **pp;
struct flexi { int n; struct cell tail[E_ARRAY(self.n)]; } *flexi;
struct cell *in_flexi;
union u { struct { int tag; double d; } a; char raw[16]; } un;
static struct cell *chain(int v) { struct cell *c = calloc(1, sizeof *c); c->v = v; return c; }
static void answer(const char *word, const char *rest) {
    (void)rest; int i;
    if (strcmp(word, "set") == 0) {
        block_count = 3;
        blocks = calloc(3, sizeof *blocks);
        blocks2 = calloc(2, sizeof *blocks2);
        conf.limits.rows = 2;
        for (i = 0; i < 3; i++) blocks[i].v = i + 1;
        for (i = 0; i < 2; i++) blocks2[i].v = i + 11;
        matrix.dim.r = 2;
        matrix.dim.c = 9;
        matrix.rows = calloc(2, sizeof *matrix.rows);
        matrix.rows[0].v = 21;
        matrix.rows[1].v = 22;
        holder.count = 1;
        holder.in.count = 2;
        holder.inner.size = 3;
        holder.count2 = 99;
        holder.in.list = calloc(2, sizeof(struct cell));
        holder.values = calloc(3, sizeof(struct cell));
        for (i = 0; i < 2; i++) holder.in.list[i].v = i + 31;
        for (i = 0; i < 3; i++) holder.values[i].v = i + 41;
        sized.n = 2;
        sized.p = calloc(4, sizeof *sized.p);
        for (i = 0; i < 4; i++) sized.p[i].v = 51 + i;
        three.c = calloc(3, sizeof(struct cell)); for (i = 0; i < 3; i++) three.c[i].v = 61 + i;
        table = calloc(1, sizeof *table);
        table->key = (void *)0x1234;
        table->value = chain(71);
        table->next = calloc(1, sizeof *table);
        table->next->key = (void*)3;
        table->next->value = table->value;
        deep = calloc(1, sizeof *deep);
        deep->key = chain(81);
        struct pair_table *t = calloc(1, sizeof *t);
        deep->value = t;
        t->key = deep->key;
        t->value = calloc(1, sizeof(int));
        *(int *)t->value = 82;
        t->next = t;
        garr[1][1].v = 91;
        garr[2][0].v = 92;
        into_garr = &garr[1][1];
        row = &garr[2];
        deep_in = &garr[2][0].v;
        pp = &into_garr;
        flexi = calloc(1, sizeof *flexi + 3 * sizeof(struct cell));
        flexi->n = 3;
        for (i = 0; i < 3; i++) flexi->tail[i].v = 101 + i;
        in_flexi = &flexi->tail[2];
        un.a.tag = 7; un.a.d = 2.5;
    }
    printf("%d %d %d %d %d\n", blocks[0].v, blocks[1].v, blocks[2].v, blocks2[0].v, blocks2[1].v);
    printf("%d %d %d %d %d %d %d %d\n", matrix.rows[0].v, matrix.rows[1].v, holder.in.list[0].v,
        holder.in.list[1].v, holder.values[0].v, holder.values[1].v, holder.values[2].v,
        holder.count2);
    printf("%d %d %d %d %d %d %d\n", sized.p[0].v, sized.p[1].v, sized.p[2].v, sized.p[3].v,
        three.c[0].v, three.c[1].v, three.c[2].v);
    struct pair_table *t = deep->value;
    printf("%p %d %d | %d %d %d %d\n", table->key, ((struct cell *)table->value)->v,
        table->next->value == table->value, ((struct cell *)deep->key)->v, t->key == deep->key,
        *(int *)t->value, t->next == t);
    printf("kind %s %s %s %s %s\n", kind == K_B ? "B" : "?", kinds[0] == K_A ? "A" : "?",
        kinds[1] == K_B ? "B" : "?", kinds[2] == K_C ? "C" : "?", kinds[3] == K_C ? "C" : "?");
    int s[3] = {3, 1, 2}; qsort(s, 3, sizeof *s, cmp); void *m = alloc(3); free(m);
    printf("%d%d%d %d %d %d %d %d %d\n", s[0], s[1], s[2], into_garr->v, (*row)[0].v, *deep_in,
        (*pp)->v, pp == &into_garr, into_garr == &garr[1][1]);
    printf("%d %d %d %d %d %g\n", flexi->tail[0].v, flexi->tail[1].v, flexi->tail[2].v,
        in_flexi == &flexi->tail[2], un.a.tag, un.a.d);
}
int main(void) { kitsune_do_automigrate(); serve(); return 0; }
