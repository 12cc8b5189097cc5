/*
 * Heaps for the engine, with type tables written by hand: `engine_heaps SCENARIO` runs one of them
 * and ends with 0, or prints what is wrong and ends with 1; without arguments it lists them.
 *
 * The "images" of the old and the new version are two structures of this program.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "blocks.h"
#include "claims.h"
#include "registry.h"
#include "transform.h"

/* ---- the two versions ----------------------------------------------------------------------- */

struct old_node;
struct old_inner {
    long value;
    struct old_node *back;
};
struct new_inner {
    long added;
    struct new_node *back;
    long value;
};
/* Moves: a field is added, others change places. */
struct old_node {
    long id;
    struct old_node *next;
    struct peer *peer;
    char name[12];
    char *cursor; /* into some node's name, or a text */
    void *word;
    struct old_inner *inside; /* some node's inner */
    struct old_inner inner;
    struct old_node *items;
    long count;
};
struct new_node {
    struct new_inner inner;
    struct new_node *items;
    long count;
    struct new_inner *inside;
    char name[20];
    char *cursor;
    long added;
    void *word;
    struct peer *peer;
    struct new_node *next;
    long id;
};
/* Keeps its layout, and its address. */
struct peer {
    long id;
    void *node; /* struct old_node *, later struct new_node * */
    struct peer *peers[2];
    void (*callback)(void);
};
/* With a flexible array member. */
struct old_vector {
    long length;
    short values[];
};
struct new_vector {
    long capacity, length;
    short values[];
};

static struct old_image {
    void *head;
    struct peer *peer;
    long number;
    long gone;
    char text[16];
    struct old_node nodes[4];
    char literals[64];
    long local;
    char functions[8]; /* functions of the old version "start" here */
} old_image;
static struct new_image {
    long pad;
    void *head;
    struct peer *peer;
    long number;
    char text[32];
    struct new_node nodes[4];
    long local;
    char functions[8];
} new_image;

#define VARIABLE(image, key, member)                                                               \
    {key, &image.member, sizeof image.member, KITSUNE_SYMBOL_VARIABLE, 0}
#define FUNCTION(image, key, number) {key, &image.functions[number], 0, KITSUNE_SYMBOL_FUNCTION, 0}

static const struct kitsune_symbol old_symbols[] = {
    VARIABLE(old_image, "head", head),
    VARIABLE(old_image, "peer", peer),
    {NULL, NULL, 0, 0, 0},
    VARIABLE(old_image, "src/a/main.c/number", number),
    VARIABLE(old_image, "gone", gone),
    VARIABLE(old_image, "text", text),
    VARIABLE(old_image, "nodes", nodes),
    VARIABLE(old_image, "ns@main.c/f#local", local),
    FUNCTION(old_image, "main.c/kept", 0),
    FUNCTION(old_image, "main.c/kept", 0), /* registered by two units */
    FUNCTION(old_image, "renamed", 1),
    FUNCTION(old_image, "removed", 2),
    FUNCTION(old_image, "refused", 3),
    FUNCTION(old_image, "moved.c/moved", 4),
};
static const struct kitsune_symbol new_symbols[] = {
    VARIABLE(new_image, "head", head),
    VARIABLE(new_image, "peer", peer),
    VARIABLE(new_image, "src/a/main.c/number", number),
    VARIABLE(new_image, "src/b/main.c/number", pad),
    VARIABLE(new_image, "text", text),
    VARIABLE(new_image, "nodes", nodes),
    VARIABLE(new_image, "ns@main.c/f#local", local),
    FUNCTION(new_image, "main.c/kept", 0),
    FUNCTION(new_image, "refused", 3),
};

#define RELEASE(image, table)                                                                      \
    {.abi = KITSUNE_ABI,                                                                           \
     .size = sizeof(struct kitsune_release),                                                       \
     .symbols = table,                                                                             \
     .symbols_end = table + sizeof table / sizeof *table,                                          \
     .image_start = (const uint8_t *)&image,                                                       \
     .image_end = (const uint8_t *)(&image + 1)}
static const struct kitsune_release old_release = RELEASE(old_image, old_symbols);
static const struct kitsune_release new_release = RELEASE(new_image, new_symbols);

/* ---- what a generator would write ----------------------------------------------------------- */

static const struct kitsune_type node_type, inner_type, peer_type, vector_type, fat_type;
static int word_is_plain, node_uses_settle;
static struct new_node *settled_next;

static void visit_inner(struct kitsune_xf *xf, const void *in) {
    kitsune__xf_object(xf, ((const struct old_inner *)in)->back, &node_type);
}
static void transform_inner(struct kitsune_xf *xf, const void *in, void *out) {
    const struct old_inner *old = in;
    struct new_inner *new = out;
    new->value = old->value;
    new->back = kitsune__xf_object(xf, old->back, &node_type);
}
static void visit_node(struct kitsune_xf *xf, const void *in) {
    const struct old_node *old = in;
    kitsune__xf_object(xf, old->next, &node_type);
    kitsune__xf_object(xf, old->peer, &peer_type);
    kitsune__xf_plain(xf, old->cursor, 0);
    kitsune__xf_word(xf, old->word);
    kitsune__xf_object(xf, old->inside, &inner_type);
    visit_inner(xf, &old->inner);
    if (old->items)
        kitsune__xf_objects(xf, old->items, (uint64_t)old->count, &node_type);
}
static void transform_node(struct kitsune_xf *xf, const void *in, void *out) {
    const struct old_node *old = in;
    struct new_node *new = out;
    new->id = old->id;
    new->count = old->count;
    memcpy(new->name, old->name, sizeof old->name);
    new->next = kitsune__xf_object(xf, old->next, &node_type);
    if (node_uses_settle && new->next) {
        kitsune__xf_settle(xf);
        settled_next = new->next->id == old->next->id ? new->next : NULL;
    }
    new->peer = kitsune__xf_object(xf, old->peer, &peer_type);
    new->cursor = kitsune__xf_plain(xf, old->cursor, 0);
    new->word = word_is_plain ? old->word : kitsune__xf_word(xf, old->word);
    new->inside = kitsune__xf_object(xf, old->inside, &inner_type);
    transform_inner(xf, &old->inner, &new->inner);
    if (old->items)
        new->items = kitsune__xf_objects(xf, old->items, (uint64_t)old->count, &node_type);
}
static void visit_peer(struct kitsune_xf *xf, const void *in) {
    const struct peer *old = in;
    kitsune__xf_object(xf, old->node, &node_type);
    for (int i = 0; i < 2; i++)
        kitsune__xf_object(xf, old->peers[i], &peer_type);
    kitsune__xf_function(xf, *(void *const *)&old->callback);
}
static void transform_peer(struct kitsune_xf *xf, const void *in, void *out) {
    const struct peer *old = in;
    struct peer *new = out;
    kitsune__xf_store(xf, &new->node, kitsune__xf_object(xf, old->node, &node_type));
    for (int i = 0; i < 2; i++)
        kitsune__xf_store(xf, &new->peers[i], kitsune__xf_object(xf, old->peers[i], &peer_type));
    kitsune__xf_store(xf, &new->callback, kitsune__xf_function(xf, *(void *const *)&old->callback));
}
static void transform_vector(struct kitsune_xf *xf, const void *in, void *out) {
    const struct old_vector *old = in;
    struct new_vector *new = out;
    (void)xf;
    new->length = new->capacity = old->length;
    memcpy(new->values, old->values, (size_t)old->length * sizeof *old->values);
}
static uint64_t vector_tail(struct kitsune_xf *xf, const void *in) {
    (void)xf;
    return (uint64_t)((const struct old_vector *)in)->length * sizeof(short);
}
/* A claim that a node is something bigger. */
static void transform_fat(struct kitsune_xf *xf, const void *in, void *out) {
    (void)xf, (void)in, (void)out;
}

#define PART(old, new, old_member, new_member, n, t)                                               \
    {offsetof(old, old_member),                                                                    \
     offsetof(new, new_member),                                                                    \
     sizeof((old *)0)->old_member / n,                                                             \
     sizeof((new *)0)->new_member / n,                                                             \
     n,                                                                                            \
     t}
static const struct kitsune_part node_parts[] = {
    {offsetof(struct old_node, name), offsetof(struct new_node, name), 1, 1, 12, NULL},
    PART(struct old_node, struct new_node, inner, inner, 1, &inner_type),
};
static const struct kitsune_type node_type = {
    .name = "struct node",
    .old_size = sizeof(struct old_node),
    .new_size = sizeof(struct new_node),
    .new_align = 8,
    .how = KITSUNE_MOVE,
    .visit = visit_node,
    .transform = transform_node,
    .parts = node_parts,
    .part_count = 2,
    .embedded = 1,
};
static const struct kitsune_type inner_type = {
    .name = "struct inner",
    .old_size = sizeof(struct old_inner),
    .new_size = sizeof(struct new_inner),
    .new_align = 8,
    .how = KITSUNE_MOVE,
    .visit = visit_inner,
    .transform = transform_inner,
    .embedded = 1,
};
static const struct kitsune_type peer_type = {
    .name = "struct peer",
    .old_size = sizeof(struct peer),
    .new_size = sizeof(struct peer),
    .new_align = 8,
    .how = KITSUNE_IN_PLACE,
    .visit = visit_peer,
    .transform = transform_peer,
};
static const struct kitsune_type vector_type = {
    .name = "struct vector",
    .old_size = sizeof(struct old_vector),
    .new_size = sizeof(struct new_vector),
    .new_align = 8,
    .how = KITSUNE_MOVE,
    .transform = transform_vector,
    .old_tail = vector_tail,
    .new_tail = vector_tail,
};
static const struct kitsune_type fat_type = {
    .name = "struct fat",
    .old_size = 3 * sizeof(struct old_node),
    .new_size = sizeof(struct old_node),
    .new_align = 8,
    .how = KITSUNE_MOVE,
    .transform = transform_fat,
};

static const struct kitsune_type *head_type = &node_type;
static uint64_t head_count;
static void visit_head(struct kitsune_xf *xf, const void *in) {
    void *old = *(void *const *)in;
    if (head_count)
        kitsune__xf_objects(xf, old, head_count, head_type);
    else
        kitsune__xf_object(xf, old, head_type);
}
static int migrate_head(struct kitsune_xf *xf, const void *in, void *out) {
    void *old = *(void *const *)in;
    *(void **)out = head_count == UINT64_MAX ? kitsune__xf_objects_terminated(xf, old, head_type)
                    : head_count             ? kitsune__xf_objects(xf, old, head_count, head_type)
                                             : kitsune__xf_object(xf, old, head_type);
    return 1;
}
static void visit_peer_variable(struct kitsune_xf *xf, const void *in) {
    kitsune__xf_object(xf, *(void *const *)in, &peer_type);
}
static int migrate_peer(struct kitsune_xf *xf, const void *in, void *out) {
    *(void **)out = kitsune__xf_object(xf, *(void *const *)in, &peer_type);
    return 1;
}
static int migrate_nodes(struct kitsune_xf *xf, const void *in, void *out) {
    for (int i = 0; i < 4; i++)
        transform_node(xf, (const struct old_node *)in + i, (struct new_node *)out + i);
    return 1;
}
static const struct kitsune_type head_variable = {
    .name = "void *", .old_size = 8, .new_size = 8, .how = KITSUNE_IN_PLACE, .visit = visit_head};
static const struct kitsune_type peer_variable = {.name = "struct peer *",
                                                  .old_size = 8,
                                                  .new_size = 8,
                                                  .how = KITSUNE_IN_PLACE,
                                                  .visit = visit_peer_variable};
static const struct kitsune_type text_variable = {
    .name = "char[]", .old_size = 16, .new_size = 32, .how = KITSUNE_IN_PLACE};
static const struct kitsune_type number_variable = {
    .name = "long", .old_size = 8, .new_size = 8, .how = KITSUNE_IN_PLACE};
static int copy_text(struct kitsune_xf *xf, const void *in, void *out) {
    (void)xf;
    memcpy(out, in, 16);
    return 1;
}
static const struct kitsune_migration migrations[] = {
    {"head", "head", &head_variable, migrate_head, KITSUNE_MIGRATION_AUTO, 0},
    {"peer", "peer", &peer_variable, migrate_peer, KITSUNE_MIGRATION_AUTO, 0},
    {"src/a/main.c/number", "src/a/main.c/number", &number_variable, NULL, 0, 0},
    {"text", "text", &text_variable, copy_text, KITSUNE_MIGRATION_AUTO, 0},
    {"nodes", "nodes", &node_type, migrate_nodes, KITSUNE_MIGRATION_AUTO, 0},
    {NULL, "gone", NULL, NULL, 0, 0},
    {"src/b/main.c/number", NULL, NULL, NULL, 0, 0},
};
static const struct kitsune_function_pair functions[] = {
    {"renamed", &new_image.functions[6], NULL},
    {"refused", NULL, NULL},
    {"moved.c/moved", NULL, "main.c/kept"},
};
static struct kitsune_plan plan = {
    .abi = KITSUNE_ABI,
    .size = sizeof plan,
    .migrations = migrations,
    .migration_count = sizeof migrations / sizeof *migrations,
    .functions = functions,
    .function_count = sizeof functions / sizeof *functions,
};

/* ---- running -------------------------------------------------------------------------------- */

static jmp_buf failed;
static char message[2048];
static uint32_t cancel;
static struct kitsune__range dying;
static struct kitsune__registry *from, *to;
static struct kitsune_xf *xf;
static struct kitsune__xf_statistics statistics;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: %s\n  message: %s\n", __FILE__, __LINE__, #condition, message);         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

__attribute__((noreturn)) static void give_up(void *transaction, const char *text) {
    CHECK(transaction == message);
    snprintf(message, sizeof message, "%s", text);
    longjmp(failed, 1);
}

static void begin(void) {
    message[0] = '\0';
    CHECK(kitsune__registry_open(&from, &old_release) == 0);
    CHECK(kitsune__registry_open(&to, &new_release) == 0);
    struct kitsune__xf_options options = {.from = from,
                                          .to = to,
                                          .plan = &plan,
                                          .dying = dying,
                                          .cancel = &cancel,
                                          .fail = give_up,
                                          .transaction = message};
    CHECK(kitsune__xf_begin(&xf, &options) == 0);
}

/* Non-zero if the migration went through. The engine is not ended. */
static int migrate(void) {
    begin();
    if (setjmp(failed))
        return 0;
    kitsune__xf_automigrate(xf);
    kitsune__xf_finish(xf, &statistics);
    return 1;
}

static void end(void) {
    struct kitsune__retired *retired = kitsune__xf_end(xf);
    while (retired && kitsune__retired_release(retired, UINT64_MAX))
        continue;
    kitsune__registry_close(from);
    kitsune__registry_close(to);
}

static int fails_with(const char *text) {
    int went_through = migrate();
    if (!went_through && strstr(message, text))
        return 1;
    printf("expected: %s\n", text);
    return 0;
}

static struct old_node *node(long id) {
    struct old_node *new = calloc(1, sizeof *new);
    CHECK(new);
    new->id = id;
    new->inner.value = -id;
    snprintf(new->name, sizeof new->name, "n%ld", id);
    return new;
}

/* ---- scenarios ------------------------------------------------------------------------------ */

static void sharing_and_cycles(void) {
    struct old_node *a = node(1), *b = node(2);
    struct peer *peer = calloc(1, sizeof *peer);
    a->next = b, b->next = a, a->peer = b->peer = peer;
    a->inner.back = a, a->inside = &b->inner;
    peer->node = b, peer->peers[0] = peer;
    old_image.head = a, old_image.peer = peer;
    CHECK(migrate());
    struct new_node *na = new_image.head, *nb = na->next;
    CHECK((void *)na != a && na->id == 1 && nb->id == 2 && nb->next == na);
    CHECK(na->peer == peer && nb->peer == peer && new_image.peer == peer);
    CHECK(peer->node == nb && peer->peers[0] == peer);
    CHECK(na->inner.back == na && na->inside == &nb->inner && nb->inner.value == -2);
    CHECK(na->added == 0 && strcmp(na->name, "n1") == 0);
    CHECK(a->next == b && b->next == a && a->peer == peer); /* old objects stay as they were */
    CHECK(statistics.moved == 2 && statistics.in_place == 1);
    end();
}

static void interior_before_base(void) {
    struct old_node *array = calloc(5, sizeof *array), *first = node(100);
    for (int i = 0; i < 5; i++)
        array[i].id = i;
    first->next = &array[3];
    first->inside = &array[4].inner;
    first->cursor = &array[2].name[5];
    first->peer = NULL;
    array[3].next = node(101);
    array[3].next->items = array, array[3].next->count = 5;
    old_image.head = first;
    plan.flags = KITSUNE_PLAN_DISCOVER;
    CHECK(migrate());
    struct new_node *new = new_image.head, *items = new->next->next->items;
    CHECK(new->next == &items[3] && new->inside == &items[4].inner);
    CHECK(new->cursor == &items[2].name[5] && items[4].id == 4);
    end();
}

static void interior_before_base_in_one_pass(void) {
    struct old_node *array = calloc(5, sizeof *array), *first = node(100);
    first->next = &array[3];
    array[3].items = array, array[3].count = 5;
    old_image.head = first;
    CHECK(fails_with("overlap; the other was met at head -> struct node (x2)"));
}

static void pointer_without_type_before_base_in_one_pass(void) {
    struct old_node *first = node(1), *second = node(2);
    first->cursor = second->name;
    first->next = second;
    old_image.head = first;
    /* The name is met while the first node is transformed, after its `next` was claimed. */
    CHECK(migrate());
    CHECK(((struct new_node *)new_image.head)->cursor ==
          ((struct new_node *)new_image.head)->next->name);
    end();
    first->next = node(3);
    first->next->next = second;
    CHECK(fails_with("a pointer without its type to"));
    CHECK(strstr(message, "was met before it, at head -> struct node (path: "));
    plan.flags = KITSUNE_PLAN_DISCOVER;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    CHECK(new->cursor == new->next->next->name);
    end();
}

static void long_list(void) {
    struct old_node *head = NULL;
    const long length = getenv("LIST_LENGTH") ? atol(getenv("LIST_LENGTH")) : 300000;
    for (long i = 0; i < length; i++) {
        struct old_node *new = calloc(1, sizeof *new);
        CHECK(new);
        new->id = i, new->next = head, head = new;
    }
    struct rlimit small = {256 << 10, 256 << 10};
    setrlimit(RLIMIT_STACK, &small);
    old_image.head = head;
    CHECK(migrate());
    long expected = length;
    for (struct new_node *new = new_image.head; new; new = new->next)
        CHECK(new->id == --expected);
    CHECK(expected == 0 && statistics.moved == (uint64_t)length);
    end();
}

static void functions_and_variables(void) {
    struct old_node *a = node(1);
    struct peer *peer = calloc(3, sizeof *peer);
    old_image.head = a, old_image.peer = peer;
    peer->peers[0] = malloc(sizeof *peer), peer->peers[1] = calloc(1, sizeof *peer);
    *peer->peers[0] = *peer;
    peer->peers[0]->peers[0] = NULL, peer->peers[0]->peers[1] = NULL;
    *(void **)&peer->callback = &old_image.functions[0];
    *(void **)&peer->peers[0]->callback = &old_image.functions[1];
    peer->peers[1]->callback = (void (*)(void))puts;
    a->next = &old_image.nodes[2]; /* in the image */
    a->inside = &old_image.nodes[1].inner;
    a->cursor = old_image.text + 3;
    a->word = &old_image.number;
    old_image.nodes[2].id = 77, old_image.nodes[2].next = a;
    old_image.nodes[0].word = a;
    old_image.nodes[1].word = &old_image.functions[4];
    old_image.nodes[3].word = &old_image.functions[1];
    strcpy(old_image.text, "abcdef");
    CHECK(migrate());
    struct new_node *new = new_image.head;
    CHECK(new->next == &new_image.nodes[2] && new->inside == &new_image.nodes[1].inner);
    CHECK(new->cursor == new_image.text + 3 && new->word == &new_image.number);
    CHECK(new_image.nodes[2].id == 77 && new_image.nodes[2].next == new);
    CHECK(new_image.nodes[1].word == &new_image.functions[0]);
    CHECK(new_image.nodes[0].word == new && new_image.nodes[3].word == &new_image.functions[6]);
    CHECK(*(void **)&peer->callback == &new_image.functions[0]);
    CHECK(*(void **)&peer->peers[0]->callback == &new_image.functions[6]);
    CHECK(peer->peers[1]->callback == (void (*)(void))puts);
    end();
}

static void removed_function(void) {
    old_image.peer = calloc(1, sizeof(struct peer));
    old_image.peer->peers[1] = calloc(1, sizeof(struct peer));
    *(void **)&old_image.peer->peers[1]->callback = &old_image.functions[2];
    CHECK(fails_with("a pointer to the function 'removed', which the new version does not have "
                     "(path: peer -> struct peer (x2))"));
    *(void **)&old_image.peer->peers[1]->callback = &old_image.functions[3];
    CHECK(fails_with("a pointer to the function 'refused'"));
    *(void **)&old_image.peer->peers[1]->callback = &old_image.functions[5];
    CHECK(fails_with("where no known function starts"));
}

static void dropped_variable(void) {
    struct old_node *a = node(1);
    a->word = &old_image.gone;
    old_image.head = a;
    CHECK(fails_with("a pointer to the variable 'gone', which is dropped (path: head -> struct "
                     "node)"));
}

static void literals(void) {
    struct old_node *a = node(1), *b = node(2);
    strcpy(old_image.literals, "hello");
    strcpy(old_image.literals + 16, "hello");
    a->cursor = old_image.literals, b->cursor = old_image.literals + 16, a->next = b;
    old_image.head = a;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    const char *text = new->cursor;
    CHECK(strcmp(text, "hello") == 0 && text == new->next->cursor &&text != a->cursor);
    end();
    /* The next update finds the text in the pool: it stays where it is. */
    a->cursor = (char *)text;
    CHECK(migrate());
    CHECK(((struct new_node *)new_image.head)->cursor == text);
    CHECK(((struct new_node *)new_image.head)->next->cursor == text);
    end();
}

/* One text of a million owners costs no more than a million texts. */
static void shared_text(void) {
    struct old_node *last = NULL;
    char *text = strdup("shared");
    for (int i = 0; i < 300000; i++) {
        struct old_node *new = calloc(1, sizeof *new);
        new->cursor = text, new->word = text + 3, new->next = last, last = new;
    }
    old_image.head = last;
    CHECK(migrate());
    for (struct new_node *new = new_image.head; new; new = new->next)
        CHECK(new->cursor == text &&new->word == text + 3);
    end();
}

static void unnamed_object(void) {
    struct peer *unnamed = (struct peer *)old_image.literals;
    memset(unnamed, 0, sizeof *unnamed);
    unnamed->id = 5, unnamed->peers[1] = unnamed;
    old_image.peer = unnamed;
    CHECK(migrate());
    struct peer *copy = new_image.peer;
    CHECK(copy != unnamed && copy->id == 5 && copy->peers[1] == copy &&
          unnamed->peers[1] == unnamed);
    end();
    free(copy);
}

static void block_too_big(void) {
    old_image.head = calloc(1, sizeof(struct old_node) + 200);
    CHECK(fails_with("what is behind it would be lost (path: head)"));
}

static void block_too_small(void) {
    head_type = &fat_type;
    old_image.head = node(1);
    node(2), node(3), node(4);
    CHECK(fails_with("but the block at"));
}

static void inside_block(void) {
    char *block = calloc(1, 4 * sizeof(struct old_node));
    old_image.head = block + 48;
    CHECK(fails_with("moves, but it lies at byte 48 of a block of"));
}

static void outside_heap(void) {
    old_image.head =
        (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 64;
    CHECK(fails_with("moves, but it is in memory that malloc did not give"));
}

/* Objects of a pool: the start of a block is the pool's. */
static char pool[4096];
static uint64_t pool_used;
static void *given_back;
static void *pool_get(uint64_t size_bytes) {
    pool_used += 64;
    return size_bytes <= 64 ? pool + pool_used - 64 + 16 : NULL;
}
static void pool_put(void *object) {
    given_back = object;
}
static const struct kitsune_type pooled_type = {
    .name = "struct inner",
    .old_size = sizeof(struct old_inner),
    .new_size = sizeof(struct new_inner),
    .new_align = 8,
    .how = KITSUNE_MOVE,
    .visit = visit_inner,
    .transform = transform_inner,
    .embedded = 1,
    .allocate = pool_get,
    .release = pool_put,
};

static void allocator_of_its_own(void) {
    struct old_inner *inner = (void *)((char *)calloc(1, 256) + 64);
    inner->value = 42;
    head_type = &pooled_type;
    old_image.head = inner;
    CHECK(migrate());
    CHECK((char *)new_image.head == pool + 16);
    CHECK(((struct new_inner *)new_image.head)->value == 42);
    struct kitsune__retired *retired = kitsune__xf_end(xf);
    uint64_t index = kitsune__retired_find(retired, (uintptr_t)inner);
    CHECK(index != UINT64_MAX && kitsune__retired_allocator(retired, index) == pool_put);
    CHECK(!given_back);
    kitsune__retired_leave_returned(retired); /* the version that has the pool is gone, too */
    CHECK(kitsune__retired_at(retired, index, NULL) == 0);
    while (kitsune__retired_release(retired, UINT64_MAX))
        continue;
}

static void union_that_went_apart(void) {
    static const struct kitsune_part parts[] = {{0, 0, 1, 1, 8, NULL}, {0, 0, 2, 4, 4, NULL}};
    static const struct kitsune_type type = {.name = "union u",
                                             .old_size = 8,
                                             .new_size = 16,
                                             .how = KITSUNE_MOVE,
                                             .parts = parts,
                                             .part_count = 2};
    uint64_t offset = 99;
    CHECK(kitsune__type_locate(&type, 1, 0, NULL, 0, &offset) && offset == 0);
    CHECK(!kitsune__type_locate(&type, 1, 3, NULL, 0, &offset)); /* 3 of the one, 5 of the other */
}

static void slack_is_no_rest(void) {
    /* Every size that malloc may round up, and reallocated blocks, are whole. */
    struct old_node *last = NULL;
    for (int i = 0; i < 2000; i++) {
        struct old_node *new = malloc(sizeof *new + (size_t)(i % 5) * 16);
        new = realloc(new, sizeof *new);
        memset(new, 0, sizeof *new);
        new->id = i, new->next = last, last = new;
        free(malloc((size_t)(i % 37) * 24));
    }
    old_image.head = last;
    CHECK(migrate());
    end();
}

static void aligned_blocks(void) {
    /* Of what aligned_alloc cuts off a larger chunk, a part too small for a chunk stays. */
    struct old_node *last = NULL;
    for (int i = 0; i < 2000; i++) {
        struct old_node *new = memalign(32u << i % 6, sizeof *new);
        memset(new, 0, sizeof *new);
        new->id = i, new->next = last, last = new;
        free(malloc((size_t)(i % 37) * 24));
    }
    old_image.head = last;
    CHECK(migrate());
    end();
}

static void large_aligned_array(void) {
    head_count = 20000; /* mapped alone, and not at the mapping's start */
    struct old_node *array = memalign(512, head_count * sizeof *array);
    memset(array, 0, head_count * sizeof *array);
    for (uint64_t i = 0; i < head_count; i++)
        array[i].id = (long)i, array[i].next = &array[(i * 7919) % head_count];
    old_image.head = array;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    for (uint64_t i = 0; i < head_count; i++)
        CHECK(new[i].id == (long)i &&new[i].next == &new[(i * 7919) % head_count]);
    end();
}

static void large_arrays(void) {
    head_count = 20000; /* mapped alone by malloc */
    struct old_node *array = calloc(head_count, sizeof *array);
    for (uint64_t i = 0; i < head_count; i++)
        array[i].id = (long)i, array[i].next = &array[(i * 7919) % head_count];
    old_image.head = array;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    for (uint64_t i = 0; i < head_count; i++)
        CHECK(new[i].id == (long)i &&new[i].next == &new[(i * 7919) % head_count]);
    CHECK(statistics.moved == head_count);
    end();
}

static void clashing_types(void) {
    struct old_node *a = node(1);
    a->peer = (struct peer *)a;
    old_image.head = a;
    CHECK(fails_with("overlap"));
    CHECK(strstr(message, "'struct peer' of 40 bytes") && strstr(message, "'struct node' of"));
}

static void partial_overlap(void) {
    struct old_node *array = calloc(6, sizeof *array);
    array[0].items = &array[3], array[0].count = 20;
    old_image.head = array;
    head_count = 6;
    CHECK(fails_with("overlap"));
}

static void no_memory_there(void) {
    struct old_node *a = node(1);
    old_image.head = a;
    a->next = (void *)16;
    CHECK(fails_with("a pointer to 'struct node' of 96 bytes at 0x10, where there is no memory "
                     "(path: head -> struct node)"));
    a->next = (void *)0xdead00000000ff00;
    CHECK(fails_with("where there is no memory"));
    a->next = (void *)0x00007ffffffff000;
    CHECK(fails_with("where there is no memory"));
    a->next = NULL, a->items = a, a->count = -1;
    CHECK(fails_with("which no memory can hold"));
    a->count = 1l << 30;
    CHECK(fails_with("where there is no memory"));
}

static void array_beyond_its_variable(void) {
    struct old_node *a = node(1);
    old_image.head = a;
    a->items = &old_image.nodes[1], a->count = 3;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    CHECK(new->items == &new_image.nodes[1]);
    end();
    a = node(1);
    old_image.head = a;
    a->items = &old_image.nodes[1], a->count = 4;
    CHECK(fails_with("an array of 4 'struct node' in the variable 'nodes', which has 288 bytes"));
    a->count = 1l << 30;
    CHECK(fails_with("an array of 1073741824 'struct node' in the variable 'nodes'"));
    a->count = -1;
    CHECK(fails_with("in the variable 'nodes'"));
    a->items = (void *)&old_image.number, a->count = 2;
    CHECK(fails_with("an array of 2 'struct node' in the variable 'src/a/main.c/number'"));
}

static void flexible_tail(void) {
    struct old_vector *vector = malloc(sizeof *vector + 100 * sizeof(short));
    vector->length = 100;
    for (short i = 0; i < 100; i++)
        vector->values[i] = i;
    head_type = &vector_type;
    old_image.head = vector;
    CHECK(migrate());
    struct new_vector *new = new_image.head;
    CHECK(new->length == 100 && new->capacity == 100);
    for (short i = 0; i < 100; i++)
        CHECK(new->values[i] == i);
    CHECK(statistics.bytes == sizeof *new + 200);
    end();
}

static void zero_terminated(void) {
    struct old_node *array = calloc(4, sizeof *array);
    for (int i = 0; i < 3; i++)
        array[i].id = i + 1;
    array[1].next = &array[2];
    head_count = UINT64_MAX;
    old_image.head = array;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    CHECK(new[0].id == 1 && new[1].next == &new[2] && new[2].id == 3 && new[3].id == 0);
    CHECK(statistics.moved == 4);
    end();
}

static void cancelled(void) {
    cancel = 1;
    old_image.head = node(1);
    CHECK(fails_with("the update was cancelled"));
}

static void dying_stack(void) {
    struct old_node *a = node(1);
    char local[64];
    dying = (struct kitsune__range){(uintptr_t)local, (uintptr_t)local + sizeof local};
    a->cursor = local + 8;
    old_image.head = a;
    CHECK(fails_with("on the stack of the old version, which ends"));
}

static void past_the_end(void) {
    struct old_node *array = calloc(3, sizeof *array), *a = node(9);
    a->items = array, a->count = 3, a->next = NULL;
    array[0].word = array + 3;
    old_image.head = a;
    CHECK(migrate());
    struct new_node *new = new_image.head;
    CHECK(new->items[0].word == new->items + 3);
    end();
}

/* Objects in place that are not aligned to 16 share cells of the side table. */
static void crowded_cells(void) {
    char *arena = calloc(1, 1000 * sizeof(struct peer) + 8);
    struct peer *peers = (struct peer *)(arena + 8);
    for (long i = 0; i < 1000; i++) {
        peers[i].id = i;
        peers[i].peers[0] = &peers[(i + 1) % 1000];
        peers[i].peers[1] = &peers[(i * 191 + 5) % 1000];
        *(void **)&peers[i].callback = &old_image.functions[0];
    }
    old_image.peer = &peers[500];
    CHECK(migrate());
    for (long i = 0; i < 1000; i++)
        CHECK(peers[i].id == i && *(void **)&peers[i].callback == &new_image.functions[0]);
    CHECK(statistics.in_place == 1000 && statistics.moved == 0 && new_image.peer == &peers[500]);
    end();
}

static void stores_wait_for_the_end(void) {
    struct peer *peer = calloc(1, sizeof *peer);
    *(void **)&peer->callback = &old_image.functions[0];
    peer->node = node(1);
    ((struct old_node *)peer->node)->next = (void *)16; /* fails after the peer was transformed */
    old_image.peer = peer;
    CHECK(!migrate());
    CHECK(*(void **)&peer->callback == &old_image.functions[0]);
}

static void by_hand(void) {
    struct old_node *a = node(3);
    begin();
    if (setjmp(failed))
        CHECK(!"failed");
    old_image.number = 42;
    CHECK(kitsune__xf_migrate(xf, "src/a/main.c/number", &new_image.number) == 1);
    CHECK(new_image.number == 42);
    new_image.number = 1;
    CHECK(kitsune__xf_migrate(xf, "a/main.c/number", NULL) == 1); /* once only */
    CHECK(new_image.number == 1);
    CHECK(kitsune__xf_migrate(xf, "unknown", &statistics) == 0);
    CHECK(kitsune__xf_migrate(xf, "src/b/main.c/number", &new_image.pad) == 0);
    old_image.head = a;
    CHECK(kitsune__xf_migrate(xf, "head", &new_image.head) == 1);
    kitsune__xf_automigrate(xf);
    kitsune__xf_finish(xf, &statistics);
    CHECK(((struct new_node *)new_image.head)->id == 3);
    kitsune__xf_finish(xf, &statistics);
    CHECK(statistics.moved == 1);
    end();
}

static void settling(void) {
    node_uses_settle = 1;
    struct old_node *a = node(1);
    a->next = node(2), a->next->next = node(3);
    old_image.head = a;
    CHECK(migrate());
    CHECK(settled_next == ((struct new_node *)new_image.head)->next);
    end();
    for (int i = 0; i < 3000; i++) {
        struct old_node *new = node(i);
        new->next = a, a = new;
    }
    old_image.head = a;
    CHECK(fails_with("rules ask for finished objects inside each other"));
}

static void no_memory(void) {
    head_count = 4000000;
    old_image.head = calloc(head_count, sizeof(struct old_node));
    struct rlimit small = {600ul << 20, 600ul << 20};
    setrlimit(RLIMIT_AS, &small);
    CHECK(fails_with("no memory for"));
}

static void keys(void) {
    enum kitsune__match match;
    begin();
    CHECK(kitsune__registry_find(from, "head", &match) == &old_symbols[0]);
    CHECK(match == KITSUNE__MATCH_EXACT);
    CHECK(kitsune__registry_find(from, "main.c/number", &match) == &old_symbols[3]);
    CHECK(match == KITSUNE__MATCH_SUFFIX);
    CHECK(kitsune__registry_find(from, "a/main.c/number", &match) == &old_symbols[3]);
    CHECK(!kitsune__registry_find(from, "in.c/number", &match) && match == KITSUNE__MATCH_NONE);
    CHECK(!kitsune__registry_find(from, "number", &match) && match == KITSUNE__MATCH_NONE);
    CHECK(!kitsune__registry_find(from, "main.c/f#local", &match));
    CHECK(kitsune__registry_find(from, "ns@main.c/f#local", NULL) == &old_symbols[7]);
    const struct kitsune_symbol *found[4];
    CHECK(!kitsune__registry_find(to, "main.c/number", &match));
    CHECK(match == KITSUNE__MATCH_AMBIGUOUS);
    CHECK(kitsune__registry_candidates(to, "main.c/number", found, 4) == 2);
    uint64_t offset;
    CHECK(kitsune__registry_variable_at(from, &old_image.text[7], &offset) == &old_symbols[5]);
    CHECK(offset == 7);
    CHECK(!kitsune__registry_variable_at(from, old_image.literals, NULL));
    CHECK(kitsune__registry_variable_before(from, old_image.literals) == &old_symbols[6]);
    CHECK(!kitsune__registry_variable_before(from, &old_image.text[7]));
    CHECK(kitsune__registry_function_at(from, &old_image.functions[1]) == &old_symbols[10]);
    CHECK(!kitsune__registry_function_at(from, &old_image.functions[5]));
    end();
}

/* ---- the keys of another thread ------------------------------------------------------------- */

static _Thread_local long own;

static void *locate_own(void) {
    return &own;
}

/* The locals are the thread's own there, all else is as the registry that it was made of has it. */
static void *look_from_beside(void *first_own) {
    const struct kitsune_symbol *mine = kitsune__registry_find(from, "own", NULL);
    struct kitsune__registry *again;
    uint64_t offset;
    CHECK(mine && kitsune__registry_variable_at(from, first_own, NULL) == mine);
    CHECK(!kitsune__registry_variable_at(from, &own, NULL));
    CHECK(kitsune__registry_open_again(&again, from) == 0);
    CHECK(kitsune__registry_variable_at(again, (char *)&own + 3, &offset) == mine && offset == 3);
    CHECK(!kitsune__registry_variable_at(again, first_own, NULL));
    CHECK(kitsune__registry_find(again, "own", NULL) == mine);
    for (size_t i = 0; i < sizeof old_symbols / sizeof *old_symbols; i++) {
        const struct kitsune_symbol *symbol = &old_symbols[i];
        CHECK(!symbol->key || kitsune__registry_find(again, symbol->key, NULL) ==
                                  kitsune__registry_find(from, symbol->key, NULL));
        CHECK(kitsune__registry_variable_at(again, symbol->address, NULL) ==
              kitsune__registry_variable_at(from, symbol->address, NULL));
        CHECK(kitsune__registry_function_at(again, symbol->address) ==
              kitsune__registry_function_at(from, symbol->address));
    }
    kitsune__registry_close(again);
    return NULL;
}

static void keys_of_another_thread(void) {
    enum { COUNT = sizeof old_symbols / sizeof *old_symbols };
    static struct kitsune_symbol symbols[COUNT + 1];
    struct kitsune_release release = old_release;
    void *(*locate)(void) = locate_own;
    pthread_t beside;
    memcpy(symbols, old_symbols, sizeof old_symbols);
    symbols[COUNT] = (struct kitsune_symbol){
        "own", NULL, sizeof own, KITSUNE_SYMBOL_VARIABLE | KITSUNE_SYMBOL_THREAD_LOCAL, 0};
    memcpy(&symbols[COUNT].address, &locate, sizeof locate);
    release.symbols = symbols;
    release.symbols_end = symbols + COUNT + 1;
    CHECK(kitsune__registry_open(&from, &release) == 0);
    CHECK(pthread_create(&beside, NULL, look_from_beside, &own) == 0);
    CHECK(pthread_join(beside, NULL) == 0);
    kitsune__registry_close(from);
}

static void wrong_plan(void) {
    static const struct kitsune_migration wrong = {"head", "absent", NULL, NULL, 0, 0};
    plan.migrations = &wrong;
    plan.migration_count = 1;
    if (!setjmp(failed)) {
        begin();
        CHECK(!"begun");
    }
    CHECK(strcmp(message, "the running version has no variable 'absent'") == 0);
}

/* ---- random heaps --------------------------------------------------------------------------- */

static uint64_t random_state = 1;
static uint64_t any(uint64_t below) {
    random_state ^= random_state << 13, random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % below;
}

static struct old_node **elements; /* all nodes, sorted by address */
static struct new_node **moved_to;
static size_t element_count;

static int by_address(const void *one, const void *other) {
    const char *a = *(char *const *)one, *b = *(char *const *)other;
    return (a > b) - (a < b);
}

static size_t element_at(const void *address) {
    size_t low = 0, high = element_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if ((const void *)elements[middle] <= address)
            low = middle;
        else
            high = middle;
    }
    CHECK((const char *)address < (const char *)(elements[low] + 1));
    return low;
}

/* Both versions of a pointer must lead to the same element; notes those not yet seen. */
static size_t *pending, pending_count;
static void same_element(const void *old, size_t old_offset, const void *new, size_t new_offset) {
    CHECK(!old == !new);
    if (!old)
        return;
    size_t index = element_at(old);
    struct new_node *there = (struct new_node *)((const char *)new - new_offset);
    CHECK((const char *)old == (const char *)elements[index] + old_offset);
    if (!moved_to[index]) {
        moved_to[index] = there;
        pending[pending_count++] = index;
    }
    CHECK(moved_to[index] == there && there->id == elements[index]->id);
}

static void compare(size_t index) {
    const struct old_node *old = elements[index];
    const struct new_node *new = moved_to[index];
    const size_t inner = offsetof(struct old_node, inner),
                 inner_new = offsetof(struct new_node, inner);
    CHECK(memcmp(old->name, new->name, sizeof old->name) == 0 && old->count == new->count);
    CHECK(old->inner.value == new->inner.value && !new->added && !new->inner.added);
    same_element(old->next, 0, new->next, 0);
    same_element(old->inside, inner, new->inside, inner_new);
    same_element(old->inner.back, 0, new->inner.back, 0);
    same_element(old->word, 0, new->word, 0);
    if (old->cursor) {
        size_t at = (size_t)(old->cursor - (char *)elements[element_at(old->cursor)]);
        same_element(old->cursor, at, new->cursor,
                     at - offsetof(struct old_node, name) + offsetof(struct new_node, name));
    }
    for (long i = 0; i < old->count; i++)
        same_element(old->items + i, 0, new->items + i, 0);
    CHECK(old->peer == new->peer);
    if (old->peer) {
        CHECK(*(void **)&old->peer->callback == &new_image.functions[old->peer->id % 2 ? 6 : 0]);
        CHECK(old->peer->peers[0] == old->peer->peers[1]);
    }
}

static void random_heap(uint64_t seed) {
    random_state = seed * 2654435761u + 88172645463325252ull;
    size_t blocks = 1 + any(400), peers = 1 + any(50);
    struct peer **peer = calloc(peers, sizeof *peer);
    struct old_node **array = calloc(blocks, sizeof *array);
    size_t *length = calloc(blocks, sizeof *length);
    element_count = 0;
    elements = calloc(blocks * 8, sizeof *elements);
    for (size_t i = 0; i < blocks; i++) {
        length[i] = any(3) ? 1 : 1 + any(8);
        array[i] = calloc(length[i], sizeof **array);
        for (size_t j = 0; j < length[i]; j++)
            elements[element_count++] = &array[i][j];
        free(malloc(any(300)));
    }
    for (size_t i = 0; i < peers; i++)
        peer[i] = calloc(1, sizeof **peer);
    qsort(elements, element_count, sizeof *elements, by_address);
#define ANY_NODE (any(4) ? elements[any(element_count)] : NULL)
    for (size_t i = 0; i < peers; i++) {
        peer[i]->id = (long)i;
        peer[i]->peers[0] = peer[i]->peers[1] = any(3) ? peer[any(peers)] : NULL;
        *(void **)&peer[i]->callback = &old_image.functions[i % 2];
    }
    uint64_t image_sum = 0;
    for (size_t i = 0; i < element_count; i++) {
        struct old_node *node = elements[i], *other;
        node->id = (long)i;
        node->inner.value = (long)any(1000);
        snprintf(node->name, sizeof node->name, "%u", (unsigned)i);
        node->next = ANY_NODE, node->inner.back = ANY_NODE, node->word = ANY_NODE;
        node->inside = (other = ANY_NODE) ? &other->inner : NULL;
        node->cursor = (other = ANY_NODE) ? &other->name[any(12)] : NULL;
        node->peer = any(3) ? peer[any(peers)] : NULL;
    }
    /* Each array of several is owned by somebody, anywhere, and the first node reaches all. */
    struct old_node *owner = calloc(blocks, sizeof *owner);
    for (size_t i = 0; i < blocks; i++) {
        owner[i].id = -1, owner[i].items = array[i], owner[i].count = (long)length[i];
        if (any(2))
            elements[any(element_count)]->items = array[i];
    }
    for (size_t i = 0; i < element_count; i++)
        for (size_t j = 0; j < blocks; j++)
            if (elements[i]->items == array[j])
                elements[i]->count = (long)length[j];
    for (size_t i = 0; i < element_count; i++)
        image_sum += (uint64_t)elements[i]->next * (i + 1) + (uint64_t)elements[i]->cursor;
    old_image.head = owner;
    head_count = blocks;
    old_image.peer = peer[0];
    plan.flags = KITSUNE_PLAN_DISCOVER;
    CHECK(migrate());
    moved_to = calloc(element_count, sizeof *moved_to);
    pending = calloc(element_count, sizeof *pending);
    pending_count = 0;
    struct new_node *owners = new_image.head;
    for (size_t i = 0; i < blocks; i++)
        for (size_t j = 0; j < length[i]; j++)
            same_element(array[i] + j, 0, owners[i].items + j, 0);
    for (size_t i = 0; i < pending_count; i++)
        compare(pending[i]);
    CHECK(pending_count == element_count);
    for (size_t i = 0; i < element_count; i++)
        image_sum -= (uint64_t)elements[i]->next * (i + 1) + (uint64_t)elements[i]->cursor;
    CHECK(image_sum == 0);
    end();
    for (size_t i = 0; i < blocks; i++) {
        free(array[i]);
        free(owners[i].items);
    }
    for (size_t i = 0; i < peers; i++)
        free(peer[i]);
    free(owner), free(owners), free(array), free(length), free(peer);
    free(elements), free(moved_to), free(pending);
}

static void random_heaps(void) {
    uint64_t first = getenv("SEED") ? strtoull(getenv("SEED"), NULL, 10) : 1;
    uint64_t rounds = getenv("ROUNDS") ? strtoull(getenv("ROUNDS"), NULL, 10) : 100;
    for (uint64_t seed = first; seed < first + rounds; seed++) {
        snprintf(message, sizeof message, "seed %lu", (unsigned long)seed);
        random_heap(seed);
    }
}

/* Pointers to anywhere: every end is allowed but a crash or a silent success with wrong objects. */
static void hostile_heaps(void) {
    for (uint64_t seed = 1; seed <= 300; seed++) {
        random_state = seed * 7919 + 12345;
        struct old_node *nodes[20];
        for (int i = 0; i < 20; i++)
            nodes[i] = node(i);
        for (int i = 0; i < 19; i++)
            nodes[i]->next = nodes[i + 1];
        uint64_t *word = (uint64_t *)nodes[any(20)] + any(sizeof(struct old_node) / 8);
        switch (any(4)) {
        case 0:
            *word = random_state;
            break;
        case 1:
            *word = (uint64_t)nodes[any(20)] + any(200);
            break;
        case 2:
            *word = (uint64_t)&old_image + any(sizeof old_image);
            break;
        default:
            *word ^= 1ull << any(48);
        }
        old_image.head = nodes[0];
        plan.flags = any(2) ? KITSUNE_PLAN_DISCOVER : 0;
        if (migrate())
            end();
        for (int i = 0; i < 20; i++)
            free(nodes[i]);
    }
}

/* ---- main ----------------------------------------------------------------------------------- */

#define SCENARIO(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    SCENARIO(sharing_and_cycles),
    SCENARIO(interior_before_base),
    SCENARIO(interior_before_base_in_one_pass),
    SCENARIO(pointer_without_type_before_base_in_one_pass),
    SCENARIO(long_list),
    SCENARIO(functions_and_variables),
    SCENARIO(removed_function),
    SCENARIO(dropped_variable),
    SCENARIO(literals),
    SCENARIO(shared_text),
    SCENARIO(unnamed_object),
    SCENARIO(allocator_of_its_own),
    SCENARIO(union_that_went_apart),
    SCENARIO(slack_is_no_rest),
    SCENARIO(aligned_blocks),
    SCENARIO(large_aligned_array),
    SCENARIO(large_arrays),
    SCENARIO(clashing_types),
    SCENARIO(partial_overlap),
    SCENARIO(no_memory_there),
    SCENARIO(array_beyond_its_variable),
    SCENARIO(flexible_tail),
    SCENARIO(zero_terminated),
    SCENARIO(cancelled),
    SCENARIO(dying_stack),
    SCENARIO(past_the_end),
    SCENARIO(crowded_cells),
    SCENARIO(stores_wait_for_the_end),
    SCENARIO(by_hand),
    SCENARIO(settling),
    SCENARIO(keys),
    SCENARIO(keys_of_another_thread),
    SCENARIO(wrong_plan),
    SCENARIO(random_heaps),
    /* With malloc's blocks known only: */
    SCENARIO(block_too_big),
    SCENARIO(block_too_small),
    SCENARIO(inside_block),
    SCENARIO(outside_heap),
    SCENARIO(hostile_heaps),
    SCENARIO(no_memory),
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc < 2)
            puts(scenarios[i].name);
        else if (strcmp(argv[1], scenarios[i].name) == 0)
            return scenarios[i].run(), 0;
    }
    return argc < 2 ? 0 : 2;
}
