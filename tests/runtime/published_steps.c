/*
 * The published API in a plain program, where no launcher runs: closures work at once, heap lists are
 * lists. Each step is a function; the program's argument names it.
 */
#include <assert.h>
#include <kitsune.h>
#include <ktheaptrack.h>
#include <ktlog.h>
#include <transform.h>

static void int_to_long(void *in, void *out, int count, void **arguments) {
    (void)arguments;
    assert(count == 0);
    *(long *)out = *(int *)in;
}

/* The same, with a closure as argument that is invoked, and a number. */
static void through(void *in, void *out, int count, void **arguments) {
    assert(count == 2 && (uintptr_t)arguments[0] == 7);
    transform_invoke_closure(arguments[1], in, out);
}

#define LONGER XF_LIFT(int_to_long, XF_DEEP, sizeof(int), sizeof(long))

static void raw(void) {
    long in = 5, out = 0;
    XF_INVOKE(XF_RAW(sizeof in), &in, &out);
    assert(out == 5);
    transform_raw(&in, &in, 1, (void *[]){(void *)sizeof in});
    assert(in == 5);
}

static void pointers(void) {
    int value = 15, *in = &value, *same = NULL, *none = NULL, **outer = &in;
    long *out = NULL, **outer_out = NULL;
    XF_INVOKE(XF_PTR(XF_RAW(sizeof(int))), &in, &same);
    assert(same == in); /* what does not change keeps its address */
    XF_INVOKE(XF_PTR(LONGER), &in, &out);
    assert((void *)out != (void *)in && *out == 15);
    XF_INVOKE(XF_PTR(XF_PTR(LONGER)), &outer, &outer_out);
    assert(**outer_out == 15);
    free(*outer_out);
    free(outer_out);
    free(out);
    out = (long *)(void *)&value;
    transform_ptr(&none, &out, 1, (void *[]){LONGER});
    assert(out == NULL);
}

static void arrays(void) {
    int in[3] = {1, 2, 3}, *pointer = in;
    long out[3] = {0}, *new = NULL;
    XF_INVOKE(XF_ARRAY(3, sizeof(int), sizeof(long), LONGER), in, out);
    assert(out[0] == 1 && out[2] == 3);
    XF_INVOKE(XF_PTRARRAY(3, sizeof(int), sizeof(long), LONGER), &pointer, &new);
    assert(new[1] == 2);
    free(new);
    XF_INVOKE(XF_PTR(XF_ARRAY(2, sizeof(int), sizeof(long), LONGER)), &pointer, &new);
    assert(new[1] == 2);
    free(new);
    transform_array(in, out, 4, (void *[]){(void *)1, (void *)4, (void *)8, LONGER});
    transform_ptrarray(&pointer, &new, 4, (void *[]){(void *)3, (void *)4, (void *)8, LONGER});
    assert(new[2] == 3);
    free(new);
}

static void ended(void) {
    int in[] = {50, 51, 0}, *pointer = in, *none = NULL;
    long *new = NULL;
    char *text = strdup("text"), *same = NULL;
    XF_INVOKE(XF_NTARRAY(sizeof(int), sizeof(long), LONGER), &pointer, &new);
    assert(new[0] == 50 && new[1] == 51 && new[2] == 0);
    free(new);
    new = (long *)(void *)in;
    transform_ntarray(&none, &new, 3, (void *[]){(void *)4, (void *)8, LONGER});
    assert(new == NULL);
    XF_INVOKE(XF_NTSTR(), &text, &same);
    assert(same == text);
    free(text);
}

static int function(void) {
    return 3;
}

static void functions(void) {
    int (*in)(void) = function, (*out)(void) = NULL;
    XF_INVOKE(XF_FPTR(), &in, &out);
    assert(out() == 3);
    out = NULL;
    transform_fptr(&in, &out, 0, NULL);
    assert(out == function);
}

static void closures(void) {
    int in = 4;
    long out = 0;
    closure *one = XF_CLOSURE(through, XF_DEEP, sizeof(int), sizeof(long), (void *)7, LONGER);
    xf own = int_to_long;
    assert(one == XF_CLOSURE(through, XF_DEEP, sizeof(int), sizeof(long), (void *)7, LONGER));
    assert(LONGER == LONGER && LONGER != XF_LIFT(int_to_long, XF_SHALLOW, 4, 8));
    assert(XF_LIFT(own, XF_DEEP, sizeof(int), sizeof(long)) == LONGER);
    XF_INVOKE(one, &in, &out);
    assert(out == 4);
    for (long i = 1; i < 5000; i++) /* many, all apart */
        assert(XF_RAW(i) != XF_RAW(i - 1) && XF_RAW(i) == XF_RAW(i));
    assert(transform_make_closure(own, XF_SHALLOW, 1, 1, 17) == NULL);
}

static void assignments(void) {
    struct {
        char c[12];
    } in = {"assigned"};
    struct {
        char c[12];
    } out;
    void *none = NULL, *other = &in;
    XF_ASSIGN(out, in);
    assert(strcmp(out.c, "assigned") == 0);
    XF_ASSERT_NULL(other, none);
    assert(other == NULL);
}

static void heap_lists(void) {
    kitsune_heaplist list;
    kitsune_heaplist_iterator *at;
    int blocks[3] = {1, 2, 4}, sum = 0, *each;
    kitsune_heaplist_init(&list);
    assert(kitsune_heaplist_isempty(&list));
    assert(kitsune_heaplist_begin(&list) == kitsune_heaplist_end(&list));
    assert(!UNNOTE_HEAP(&list, blocks));
    HEAPLIST_FOR_EACH(&list, each, int *, at)
    assert(!each);
    for (int i = 0; i < 3; i++)
        NOTE_HEAP(&list, &blocks[i]);
    assert(!kitsune_heaplist_isempty(&list));
    assert(kitsune_heaplist_last(&list)->addr == &blocks[2]);
    assert(kitsune_heaplist_next(kitsune_heaplist_begin(&list))->addr == &blocks[1]);
    assert(kitsune_heaplist_next(kitsune_heaplist_last(&list)) == kitsune_heaplist_end(&list));
    HEAPLIST_FOR_EACH(&list, each, int *, at)
    sum += *each;
    assert(sum == 7);
    assert(UNNOTE_HEAP(&list, &blocks[1]) && !UNNOTE_HEAP(&list, &blocks[1]));
    assert(UNNOTE_HEAP(&list, &blocks[2]));
    assert(kitsune_heaplist_last(&list) == kitsune_heaplist_begin(&list));
    NOTE_HEAP(&list, &blocks[1]);
    NOTE_HEAP(&list, &blocks[1]); /* twice: one is taken out at a time */
    assert(UNNOTE_HEAP(&list, &blocks[0]) && UNNOTE_HEAP(&list, &blocks[1]));
    assert(UNNOTE_HEAP(&list, &blocks[1]) && kitsune_heaplist_isempty(&list));
    assert(kitsune_heaplist_last(&list) == NULL);
}

static DEF_XFORM_FUNC_PTR(mapped, function, functions, &closures)

    static void names(void) {
    char *key = kitsune_get_symbol_key("v", "f", "a.c", "ns");
    state_xform_fn_t step = names;
    xform_fn_t found = kitsune_get_xform("v", NULL, NULL, NULL);
    assert(strcmp(key, "ns@a.c/f#v") == 0);
    kitsune_free(key);
    key = kitsune_get_symbol_key("v", NULL, NULL, NULL);
    assert(strcmp(key, "v") == 0);
    kitsune_free(key);
    assert(!found && step == names);
    assert(mapped((void *)function) == (void *)function && mapped(NULL) == NULL);
    transform_register_renaming("old", "new");
    assert(strcmp(transform_mapped_name("old"), "new") == 0);
    assert(!transform_mapped_name("new"));
    assert(kitsune_logging_init("steps") == 1);
    int *block = kitsune_calloc(2, sizeof *block);
    assert(block && !block[1]);
    kitsune_free(block);
    kitsune_free(kitsune_malloc(3));
}

static const struct {
    const char *name;
    void (*run)(void);
} steps[] = {
    {"raw", raw},     {"pointers", pointers},       {"arrays", arrays},
    {"ended", ended}, {"functions", functions},     {"closures", closures},
    {"names", names}, {"assignments", assignments}, {"heap_lists", heap_lists},
};

int main(int argc, char **argv) {
    for (size_t i = 0; argc == 2 && i < sizeof steps / sizeof *steps; i++)
        if (strcmp(steps[i].name, argv[1]) == 0) {
            steps[i].run();
            printf("%s done\n", argv[1]);
            return 0;
        }
    return 2;
}
