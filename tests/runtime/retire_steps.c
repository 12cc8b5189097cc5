/*
 * Retiring, without a launcher: `retire_steps SCENARIO RELEASE.so` loads copies of the release as
 * versions come and go, and ends with 0, or says what is wrong and ends with 1.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oldcode.h"
#include "registry.h"
#include "retire.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            printf("%s:%d: %s\n  reason: %s\n", __FILE__, __LINE__, #condition, reason);           \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define SECOND 1000000000ull

static const char *release_path;
static char reason[256];
static int destroyed, forgotten;

/* Of load.c and oldcode.c, which are not here. */
struct kitsune__image *kitsune__image_current(void) {
    return NULL;
}

void kitsune__load_tell(void) {
}

void kitsune__oldcode_close(struct kitsune__image *image) {
    (void)image;
}

void kitsune__oldcode_forget(const struct kitsune__image *image) {
    (void)image;
}

void kitsune__oldcode_drop(void) {
}

void kitsune__image_forget(struct kitsune__image *image) {
    forgotten++;
    free(image);
}

static struct kitsune__image *load(void) {
    static int number;
    char name[256], command[800];
    snprintf(name, sizeof name, "%s.%d", release_path, number++);
    snprintf(command, sizeof command, "cp %s %s", release_path, name);
    CHECK(system(command) == 0);
    struct kitsune__image *image = calloc(1, sizeof *image);
    image->handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    CHECK(image->handle);
    unlink(name);
    image->release = dlsym(image->handle, "kitsune_release");
    image->start = image->release->image_start;
    image->end = image->release->image_end;
    *(int **)dlsym(image->handle, "destroyed") = &destroyed;
    return image;
}

/* Called through volatile pointers in frames of their own: no register keeps what they return. */
__attribute__((noinline)) static void take_text(struct kitsune__image *image, const char **where) {
    const char *(*text)(void) = (const char *(*)(void))dlsym(image->handle, "release_text");
    *where = text();
}
__attribute__((noinline)) static void take_callback(struct kitsune__image *image,
                                                    void (**where)(int)) {
    void (*(*callback)(void))(int) =
        (void (*(*)(void))(int))dlsym(image->handle, "release_callback");
    *where = callback();
}
/* Overwrites what earlier calls left on the stack. */
__attribute__((noinline)) static void clear_stack(void) {
    char stale[16384];
    memset(stale, 0, sizeof stale);
    __asm__ volatile("" : : "r"(stale) : "memory");
}

static struct kitsune__retire_state retire(struct kitsune__retired *objects,
                                           struct kitsune__image *image) {
    struct kitsune__retire_state state;
    clear_stack();
    kitsune__retire_begin(objects, image);
    kitsune__retire_finish(10 * SECOND);
    kitsune__retire_state(&state);
    return state;
}

static void unreferenced_goes(void) {
    struct kitsune__image *image = load();
    const char **text = malloc(sizeof *text);
    take_text(image, text);
    *(const char *volatile *)text = NULL;
    struct kitsune__retire_state state = retire(NULL, image);
    kitsune__retire_reason(image, reason, sizeof reason);
    CHECK(state.images == 0 && state.unloaded == 1 && forgotten == 1);
    CHECK(destroyed == 0);
    free(text);
}

static void referenced_stays(void) {
    struct kitsune__image *image = load();
    const char **text = malloc(sizeof *text);
    take_text(image, text);
    struct kitsune__retire_state state = retire(NULL, image);
    kitsune__retire_reason(image, reason, sizeof reason);
    CHECK(state.images == 1 && state.unloaded == 0);
    CHECK(strstr(reason, "1 words point into it, the first at 0x") &&
          strstr(reason, "of a heap block of "));
    CHECK(strcmp(*text, "a text of this version") == 0);
    *(const char *volatile *)text = NULL;
    state = retire(NULL, NULL); /* the next update tries again */
    CHECK(state.images == 0 && state.unloaded == 1 && destroyed == 0);
}

static void named_reference(void) {
    static void (*handler)(int);
    struct kitsune__image *image = load();
    take_callback(image, &handler);
    retire(NULL, image);
    kitsune__retire_reason(image, reason, sizeof reason);
    CHECK(strstr(reason, "in retire_steps") && strstr(reason, "to 'release.c/callback'"));
}

static void handler_stays(void) {
    void (*volatile handler)(int);
    struct kitsune__image *image = load();
    take_callback(image, (void (**)(int))&handler);
    signal(SIGUSR1, handler);
    handler = NULL;
    retire(NULL, image);
    kitsune__retire_reason(image, reason, sizeof reason);
    CHECK(strstr(reason, "1 words point into it") && strstr(reason, "handler of signal 10"));
    signal(SIGUSR1, SIG_DFL);
    CHECK(retire(NULL, NULL).images == 0);
}

static void stale_words_in_free_blocks(void) {
    enum { COUNT = 20000 };
    struct kitsune__image *image = load();
    static const char **blocks[COUNT];
    for (int i = 0; i < COUNT; i++) {
        size_t words = 3 + (size_t)(i % 40);
        blocks[i] = malloc(words * sizeof **blocks);
        for (size_t j = 0; j < words; j++)
            take_text(image, &blocks[i][j]);
    }
    for (int i = 0; i < COUNT; i++)
        free(blocks[i]);
    memset(blocks, 0, sizeof blocks);
    struct kitsune__retire_state state = retire(NULL, image);
    kitsune__retire_reason(image, reason, sizeof reason);
    CHECK(state.images == 0);
}

static void unseen_by_wait(void) {
    struct kitsune__image *image = load();
    kitsune__retire_begin(NULL, image);
    CHECK(kitsune__retire_slice(1000) != 0); /* the copy runs now */
    CHECK(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
    kitsune__retire_finish(10 * SECOND);
}

/* ---- with objects ------------------------------------------------------------------------ */

struct old_item {
    struct old_item *next;
    const char *text;
    long id;
};
struct new_item {
    long id, added;
    struct new_item *next;
    const char *text;
};

static struct {
    void *items;
} old_state, new_state;
static const struct kitsune_symbol old_symbols[] = {
    {"items", &old_state.items, 8, KITSUNE_SYMBOL_VARIABLE, 0}};
static const struct kitsune_symbol new_symbols[] = {
    {"items", &new_state.items, 8, KITSUNE_SYMBOL_VARIABLE, 0}};

static const struct kitsune_type grow_type, shrink_type;
static void grow(struct kitsune_xf *xf, const void *in, void *out) {
    const struct old_item *old = in;
    struct new_item *new = out;
    new->id = old->id;
    new->text = kitsune__xf_plain(xf, old->text, 0);
    new->next = kitsune__xf_object(xf, old->next, &grow_type);
}
static void shrink(struct kitsune_xf *xf, const void *in, void *out) {
    const struct new_item *old = in;
    struct old_item *new = out;
    new->id = old->id;
    new->text = kitsune__xf_plain(xf, old->text, 0);
    new->next = kitsune__xf_object(xf, old->next, &shrink_type);
}
static const struct kitsune_type grow_type = {.name = "struct item",
                                              .old_size = sizeof(struct old_item),
                                              .how = KITSUNE_MOVE,
                                              .new_size = sizeof(struct new_item),
                                              .new_align = 8,
                                              .transform = grow};
static const struct kitsune_type shrink_type = {.name = "struct item",
                                                .old_size = sizeof(struct new_item),
                                                .how = KITSUNE_MOVE,
                                                .new_size = sizeof(struct old_item),
                                                .new_align = 8,
                                                .transform = shrink};
static const struct kitsune_type *item_type = &grow_type;
static int migrate_items(struct kitsune_xf *xf, const void *in, void *out) {
    *(void **)out = kitsune__xf_object(xf, *(void *const *)in, item_type);
    return 1;
}
static const struct kitsune_migration migration = {
    "items", "items", NULL, migrate_items, KITSUNE_MIGRATION_AUTO, 0};
static const struct kitsune_plan plan = {.migrations = &migration, .migration_count = 1};

__attribute__((noreturn)) static void give_up(void *transaction, const char *message) {
    printf("%s%s\n", (char *)transaction, message);
    exit(1);
}

/* One update of the items: `image` is where their texts come from. */
static struct kitsune__retired *transform(const struct kitsune__image *image) {
    struct kitsune__registry *from, *to;
    struct kitsune_xf *xf;
    struct kitsune_release old = {.symbols = old_symbols, .symbols_end = old_symbols + 1};
    struct kitsune_release new = {.symbols = new_symbols, .symbols_end = new_symbols + 1};
    if (image) {
        old.image_start = image->release->image_start;
        old.image_end = image->release->image_end;
    }
    CHECK(kitsune__registry_open(&from, &old) == 0 && kitsune__registry_open(&to, &new) == 0);
    struct kitsune__xf_options options = {
        .from = from, .to = to, .plan = &plan, .fail = give_up, .transaction = ""};
    CHECK(kitsune__xf_begin(&xf, &options) == 0);
    kitsune__xf_automigrate(xf);
    kitsune__xf_finish(xf, NULL);
    struct kitsune__retired *retired = kitsune__xf_end(xf);
    kitsune__registry_close(from);
    kitsune__registry_close(to);
    old_state.items = new_state.items;
    return retired;
}

static void make_items(long count, const char *text) {
    struct old_item *last = NULL;
    for (long i = 0; i < count; i++) {
        struct old_item *item = calloc(1, sizeof *item);
        item->id = i, item->text = text, item->next = last, last = item;
    }
    old_state.items = last;
}

static void old_blocks_are_freed(void) {
    make_items(50000, NULL);
    struct mallinfo2 before = mallinfo2();
    struct kitsune__retired *objects = transform(NULL);
    CHECK(mallinfo2().uordblks > before.uordblks + 50000 * sizeof(struct old_item));
    struct kitsune__retire_state state = retire(objects, NULL);
    CHECK(state.blocks_freed == 50000 && state.blocks_kept == 0);
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks <= before.uordblks + 50000 * 24);
    item_type = &shrink_type;
    state = retire(transform(NULL), NULL);
    CHECK(state.blocks_freed == 100000);
    CHECK(mallinfo2().uordblks <= before.uordblks + 4096);
}

/* A pointer to a block that the program has freed must not be freed a second time. */
static void freed_block_is_left_alone(void) {
    make_items(100, NULL);
    struct old_item *third = ((struct old_item *)old_state.items)->next->next;
    uintptr_t hidden = (uintptr_t)third;
    __asm__ volatile("" : "+r"(hidden));
    free(third);
    ((struct old_item *)hidden)->next = NULL; /* of the cache, which is not used again */
    struct kitsune__retire_state state = retire(transform(NULL), NULL);
    CHECK(state.blocks_freed == 2 && state.blocks_kept == 1);
}

static long memory_pages(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &total, &resident) == 2);
    fclose(file);
    return total;
}

static void chain_is_flat(void) {
    long after_warming = 0;
    struct kitsune__image *image = load();
    make_items(10000, NULL);
    take_text(image, &((struct old_item *)old_state.items)->text);
    for (int i = 0; i < 200; i++) {
        item_type = i % 2 ? &shrink_type : &grow_type;
        struct kitsune__image *next = load();
        struct kitsune__retired *objects = transform(image);
        struct kitsune__retire_state state = retire(objects, image);
        kitsune__retire_reason(image, reason, sizeof reason);
        CHECK(state.images == 0 && state.unloaded == (uint32_t)i + 1);
        CHECK(state.blocks_freed == 10000ull * ((uint64_t)i + 1));
        image = next;
        /* The new version points to a text of its own. */
        const char **text = i % 2 ? &((struct old_item *)old_state.items)->text
                                  : &((struct new_item *)old_state.items)->text;
        CHECK(strcmp(*text, "a text of this version") == 0);
        take_text(image, text);
        clear_stack();
        if (i == 80) /* addresses of 64 images are kept vacant */
            after_warming = memory_pages();
    }
    snprintf(reason, sizeof reason, "%ld pages, then %ld", after_warming, memory_pages());
    CHECK(memory_pages() <= after_warming + 64);
    CHECK(destroyed == 0);
}

#define SCENARIO(name) {#name, name}
static const struct {
    const char *name;
    void (*run)(void);
} scenarios[] = {
    SCENARIO(unreferenced_goes),    SCENARIO(referenced_stays),           SCENARIO(named_reference),
    SCENARIO(handler_stays),        SCENARIO(stale_words_in_free_blocks), SCENARIO(unseen_by_wait),
    SCENARIO(old_blocks_are_freed), SCENARIO(freed_block_is_left_alone),  SCENARIO(chain_is_flat),
};

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc < 3)
            puts(scenarios[i].name);
        else if (strcmp(argv[1], scenarios[i].name) == 0)
            return release_path = argv[2], scenarios[i].run(), 0;
    }
    return argc < 3 ? 0 : 2;
}
