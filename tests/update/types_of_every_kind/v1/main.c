/* Packed, aligned, complex and vector members, callbacks and pointers into objects that move. */
#include "serve.h"
#include <complex.h>
#include <stdalign.h>
typedef int v4 __attribute__((vector_size(16)));
enum { NITEMS = 3 };
struct __attribute__((packed)) pk { char c; long l; short s; void *self; };
struct odd {
    char tag;
    long double ld;
    double complex z;
    __int128 big;
    v4 v;
    struct pk pk;
    struct { union { int i; float f; }; struct { char x, y; } in; };
    alignas(64) int al;
    const char *lit;
    int (*cmp)(const char *, const char *);
    int (*fns[3])(int);
    int *into;
    struct odd *me;
    unsigned bf1:3, :0, bf2:9;
    _Bool b:1;
};
struct swap { int a; int b; };
struct vec { int n; struct swap *items; };
struct flex { int n; struct swap s[]; };
static int one(int x) { return x + 1; }
static int two(x) int x; { return x + 2; }
int three(int x) { return x + 3; }
const char *const names[] = {"zero", "one", "two"};
struct op { const char *name; int (*f)(int); };
static const struct op ops[] = {{"one", one}, {"two", two}, {"three", three}};
const struct op *current;
const char *const *name_at;
int table[10];
int *in_table;
struct odd *odd;
struct swap sw;
int *in_sw;
int *in_odd;
char *in_pk;
struct vec vec;
struct swap *mid;
extern int helper(int);
extern void helper_show(void);
extern void helper2_show(void);

static void answer(const char *word, const char *rest) {
    (void)rest;
    if (strcmp(word, "set") == 0) {
        odd = aligned_alloc(64, sizeof *odd);
        memset(odd, 0, sizeof *odd);
        odd->tag = 't'; odd->ld = 1.25L; odd->z = 1 + 2*I; odd->big = ((__int128)7 << 100) + 5;
        odd->v = (v4){1,2,3,4}; odd->pk.c='p'; odd->pk.l=-9; odd->pk.s=3; odd->pk.self=odd;
        odd->i = 77;
        odd->in.x='x';
        odd->in.y='y';
        odd->al=64;
        odd->lit="literal";
        odd->cmp=strcmp;
        odd->fns[0]=one; odd->fns[1]=two; odd->fns[2]=three; odd->into=&table[4]; odd->me=odd;
        odd->bf1=5; odd->bf2=300; odd->b=1;
        current=&ops[1];
        name_at=&names[2];
        table[4]=44;
        in_table=&table[4];
        sw.a=1;
        sw.b=2;
        in_sw=&sw.b;
        in_odd=&odd->al; in_pk=(char*)&odd->pk.c;
        vec.n=3;
        vec.items=calloc(3,sizeof *vec.items);
        for(int i=0;i<3;i++){
            vec.items[i].a=i;
            vec.items[i].b=10*i;
        }
        mid=&vec.items[1];
    }
    printf("%c %Lg %g+%gi %llx %d%d%d%d %c%ld%d %d %d %c%c %d %s %d %d%d%d %d %d %u %u %d\n",
        odd->tag, odd->ld, creal(odd->z), cimag(odd->z),
      (unsigned long long)(odd->big>>64), odd->v[0],odd->v[1],odd->v[2],odd->v[3], odd->pk.c,
          (long)odd->pk.l, odd->pk.s, odd->pk.self==odd, odd->i, odd->in.x, odd->in.y,
      odd->al, odd->lit, odd->cmp("a","a"), odd->fns[0](0), odd->fns[1](0), odd->fns[2](0),
          *odd->into, odd->me==odd, odd->bf1, odd->bf2, odd->b);
    printf("%s %d %s %d %d %d/%d %d %d\n", current->name, current->f(0), *name_at, *in_table,
        in_table==&table[4], sw.a, sw.b, *in_sw, in_odd==&odd->al);
    printf("%d/%d %d/%d %d/%d %d\n",
        vec.items[0].a, vec.items[0].b, vec.items[1].a, vec.items[1].b,
        vec.items[2].a, vec.items[2].b, mid==&vec.items[1]);
    printf("%c %d\n", *in_pk, current == &ops[1]);
    helper_show(); helper2_show();
}
int main(void) { kitsune_do_automigrate(); serve(); return 0; }
