/*
 * Time per object of the engine and of a hand-written loop that mallocs and copies the same nodes.
 *
 *     engine KIND ORDER COUNT     (KIND: list, tree, table; ORDER: sequential, shuffled)
 *
 * prints one JSON object. Each run is made in a child, so that all start from the same heap: CPU time
 * of the thread, best of three. The engine's time is all of it: tables opened, objects moved, blocks
 * checked.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "registry.h"
#include "transform.h"

struct old_node {
    long id, value;
    struct old_node *next, *other;
    long rest;
};
struct new_node {
    long id, value;
    struct new_node *next, *other;
    long added, rest;
};
struct table {
    long buckets;
    void **bucket;
};

static struct {
    void *root;
    struct table table;
} old_image, new_image;

static const struct kitsune_symbol old_symbols[] = {
    {"root", &old_image.root, sizeof old_image.root, KITSUNE_SYMBOL_VARIABLE, 0},
    {"table", &old_image.table, sizeof old_image.table, KITSUNE_SYMBOL_VARIABLE, 0},
};
static const struct kitsune_symbol new_symbols[] = {
    {"root", &new_image.root, sizeof new_image.root, KITSUNE_SYMBOL_VARIABLE, 0},
    {"table", &new_image.table, sizeof new_image.table, KITSUNE_SYMBOL_VARIABLE, 0},
};
static const struct kitsune_release old_release = {.symbols = old_symbols,
                                                   .symbols_end = old_symbols + 2,
                                                   .image_start = (const uint8_t *)&old_image,
                                                   .image_end = (const uint8_t *)(&old_image + 1)};
static const struct kitsune_release new_release = {.symbols = new_symbols,
                                                   .symbols_end = new_symbols + 2,
                                                   .image_start = (const uint8_t *)&new_image,
                                                   .image_end = (const uint8_t *)(&new_image + 1)};

/* Generated code reaches the engine through the launcher's table. */
static struct kitsune_launcher table_of_functions;
static const struct kitsune_launcher *volatile launcher = &table_of_functions;

static const struct kitsune_type node_type;
static void transform_node(struct kitsune_xf *xf, const void *in, void *out) {
    const struct old_node *old = in;
    struct new_node *new = out;
    new->id = old->id;
    new->value = old->value;
    new->rest = old->rest;
    new->next = launcher->object(xf, old->next, &node_type);
    new->other = launcher->object(xf, old->other, &node_type);
}
static const struct kitsune_type node_type = {.name = "struct node",
                                              .old_size = sizeof(struct old_node),
                                              .new_size = sizeof(struct new_node),
                                              .new_align = 8,
                                              .how = KITSUNE_MOVE,
                                              .transform = transform_node};
static void transform_link(struct kitsune_xf *xf, const void *in, void *out) {
    launcher->store(xf, out, launcher->object(xf, *(void *const *)in, &node_type));
}
static const struct kitsune_type link_type = {.name = "struct node *",
                                              .old_size = 8,
                                              .new_size = 8,
                                              .new_align = 8,
                                              .how = KITSUNE_IN_PLACE,
                                              .transform = transform_link};
static int migrate_root(struct kitsune_xf *xf, const void *in, void *out) {
    *(void **)out = launcher->object(xf, *(void *const *)in, &node_type);
    return 1;
}
static int migrate_table(struct kitsune_xf *xf, const void *in, void *out) {
    const struct table *old = in;
    struct table *new = out;
    new->buckets = old->buckets;
    new->bucket = launcher->objects(xf, old->bucket, (uint64_t)old->buckets, &link_type);
    return 1;
}
static const struct kitsune_migration migrations[] = {
    {"root", "root", NULL, migrate_root, KITSUNE_MIGRATION_AUTO, 0},
    {"table", "table", NULL, migrate_table, KITSUNE_MIGRATION_AUTO, 0},
};
static const struct kitsune_plan plan = {.migrations = migrations, .migration_count = 2};

/* ---- the hand-written loops ----------------------------------------------------------------- */

static struct new_node *copy(const struct old_node *old) {
    struct new_node *new = malloc(sizeof *new);
    new->id = old->id;
    new->value = old->value;
    new->rest = old->rest;
    new->added = 0;
    new->next = new->other = NULL;
    return new;
}

static void copy_list(void) {
    struct new_node **link = (struct new_node **)&new_image.root;
    for (const struct old_node *old = old_image.root; old; old = old->next) {
        *link = copy(old);
        link = &(*link)->next;
    }
}

static struct new_node *copy_tree(const struct old_node *old) {
    if (!old)
        return NULL;
    struct new_node *new = copy(old);
    new->next = copy_tree(old->next);
    new->other = copy_tree(old->other);
    return new;
}

static void copy_table(void) {
    const struct table *table = &old_image.table;
    for (long i = 0; i < table->buckets; i++) {
        struct new_node **link = (struct new_node **)&table->bucket[i];
        for (const struct old_node *old = table->bucket[i]; old; old = old->next) {
            *link = copy(old);
            link = &(*link)->next;
        }
    }
    new_image.table = *table;
}

/* ---- heaps ---------------------------------------------------------------------------------- */

static struct old_node **make_nodes(long count, int shuffled) {
    struct old_node **nodes = malloc((size_t)count * sizeof *nodes);
    uint64_t state = 88172645463325252ull;
    for (long i = 0; i < count; i++)
        nodes[i] = calloc(1, sizeof **nodes);
    for (long i = count; shuffled && i-- > 1;) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        long other = (long)(state % (uint64_t)(i + 1));
        struct old_node *node = nodes[i];
        nodes[i] = nodes[other];
        nodes[other] = node;
    }
    for (long i = 0; i < count; i++)
        nodes[i]->id = nodes[i]->value = nodes[i]->rest = i;
    return nodes;
}

static void link_list(struct old_node **nodes, long count) {
    for (long i = 0; i + 1 < count; i++)
        nodes[i]->next = nodes[i + 1];
    old_image.root = nodes[0];
}

/* Balanced, in the order of a depth-first walk. */
static struct old_node *link_tree(struct old_node **nodes, long count) {
    if (!count)
        return NULL;
    long left = (count - 1) / 2;
    nodes[0]->next = link_tree(nodes + 1, left);
    nodes[0]->other = link_tree(nodes + 1 + left, count - 1 - left);
    return nodes[0];
}

static void link_table(struct old_node **nodes, long count) {
    long buckets = 16;
    while (buckets < count)
        buckets *= 2;
    struct table table = {buckets, calloc((size_t)buckets, sizeof(void *))};
    for (long i = 0; i < count; i++) {
        uint64_t hash = (uint64_t)i * 0x9e3779b97f4a7c15ull >> 20 & (uint64_t)(buckets - 1);
        nodes[i]->next = table.bucket[hash];
        table.bucket[hash] = nodes[i];
    }
    old_image.table = table;
}

/* ---- measuring ------------------------------------------------------------------------------ */

__attribute__((noreturn)) static void give_up(void *transaction, const char *message) {
    (void)transaction;
    fprintf(stderr, "%s\n", message);
    exit(1);
}

static void run_engine(long count) {
    struct kitsune__registry *from, *to;
    struct kitsune_xf *xf;
    struct kitsune__xf_statistics statistics;
    kitsune__registry_open(&from, &old_release);
    kitsune__registry_open(&to, &new_release);
    struct kitsune__xf_options options = {.from = from, .to = to, .plan = &plan, .fail = give_up};
    kitsune__xf_begin(&xf, &options);
    kitsune__xf_automigrate(xf);
    kitsune__xf_finish(xf, &statistics);
    if (statistics.moved != (uint64_t)count)
        give_up(NULL, "not all objects were moved");
}

static void run_loop(const char *kind) {
    if (kind[0] == 'l')
        copy_list();
    else if (kind[1] == 'r')
        new_image.root = copy_tree(old_image.root);
    else
        copy_table();
}

/* Touches the code of both in this child: a child starts with none of it mapped. */
static void warm_up(void) {
    void *root = old_image.root;
    struct table table = old_image.table;
    old_image.root = NULL;
    old_image.table = (struct table){0, NULL};
    run_engine(0);
    copy_list();
    copy_table();
    old_image.root = root;
    old_image.table = table;
}

static double thread_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Nanoseconds per object, best of three children. */
static double measure(int engine, const char *kind, long count) {
    double *result = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double best = 1e99;
    for (int round = 0; round < 3; round++) {
        pid_t child = fork();
        if (child == 0) {
            warm_up();
            double start = thread_ns();
            if (engine)
                run_engine(count);
            else
                run_loop(kind);
            *result = (thread_ns() - start) / (double)count;
            _exit(0);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status != 0)
            exit(1);
        best = *result < best ? *result : best;
    }
    return best;
}

int main(int argc, char **argv) {
    if (argc != 4)
        return 2;
    const char *kind = argv[1];
    long count = atol(argv[3]);
    struct old_node **nodes = make_nodes(count, strcmp(argv[2], "shuffled") == 0);
    if (kind[0] == 'l')
        link_list(nodes, count);
    else if (kind[1] == 'r')
        old_image.root = link_tree(nodes, count);
    else
        link_table(nodes, count);
    table_of_functions.object = kitsune__xf_object;
    table_of_functions.objects = kitsune__xf_objects;
    table_of_functions.store = kitsune__xf_store;
    double loop = measure(0, kind, count), engine = measure(1, kind, count);
    printf("{\"kind\": \"%s\", \"order\": \"%s\", \"objects\": %ld, \"loop_ns\": %.1f, "
           "\"engine_ns\": %.1f}\n",
           kind, argv[2], count, loop, engine);
    return 0;
}
