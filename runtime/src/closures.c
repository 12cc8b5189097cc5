/*
 * Closures (kitsune_closures.h). Linked into each release and into plain executables, where there is no
 * launcher: objects are transformed at once then, as there is no migration that goes on.
 *
 * Equal closures are one: they are kept in a table that lives as long as the update (in the engine's
 * own memory), or for ever outside of one. A closure's `type` is made when a pointer first leads to
 * such an object.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kitsune_abi.h"
#include "kitsune_closures.h"
#include "release_table.h"
#include "transform.h"

#define BUCKETS 256u
#define MOST_ARGUMENTS 16

/* An entry of the table. */
struct entry {
    struct entry *next;
    struct kitsune_closure closure;
    struct kitsune_type type; /* of objects of it; filled in if `closure.type` points here */
    void *arguments[];
};

/* A rename by hand. */
struct renaming {
    struct renaming *next;
    const char *new_key;
    char old_key[];
};

static struct {
    struct kitsune_xf *of; /* the update that the rest belongs to; NULL outside of one */
    struct entry *entries[BUCKETS];
} table;
static struct renaming *renamings;

static struct kitsune_xf *engine(void) {
    const struct kitsune_launcher *launcher = kitsune__table();
    return launcher != NULL ? launcher->engine() : NULL;
}

__attribute__((format(printf, 2, 3))) static void fail(struct kitsune_xf *xf, const char *format,
                                                       ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (xf != NULL)
        kitsune__table()->fail(xf, "%s", text);
    else
        fprintf(stderr, "kitsune: %s\n", text);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void *memory(struct kitsune_xf *xf, size_t bytes) {
    return xf != NULL ? kitsune__table()->scratch(xf, bytes) : calloc(1, bytes);
}

static uint64_t mix(uint64_t hash, uint64_t value) {
    return (hash ^ value) * 0x9e3779b97f4a7c15ull;
}

static int is_like(const struct kitsune_closure *one, const struct kitsune_closure *other) {
    return one->transform == other->transform && one->depth == other->depth &&
           one->old_size == other->old_size && one->new_size == other->new_size &&
           one->count == other->count &&
           memcmp(one->arguments, other->arguments, (size_t)one->count * sizeof(void *)) == 0;
}

static struct entry **bucket_of(const struct kitsune_closure *closure) {
    uint64_t hash = mix((uintptr_t)closure->transform, closure->old_size);
    hash = mix(mix(hash, closure->new_size), (uint64_t)closure->count);
    for (int i = 0; i < closure->count; i++)
        hash = mix(hash, (uintptr_t)closure->arguments[i]);
    return &table.entries[hash >> 32 & (BUCKETS - 1)];
}

static struct kitsune_closure *intern(struct kitsune_xf *xf, const struct kitsune_closure *wanted) {
    struct entry **bucket = bucket_of(wanted);
    for (struct entry *entry = *bucket; entry != NULL; entry = entry->next)
        if (is_like(&entry->closure, wanted))
            return &entry->closure;
    size_t bytes = (size_t)wanted->count * sizeof(void *);
    struct entry *entry = memory(xf, sizeof *entry + bytes);
    if (entry == NULL)
        return NULL;
    entry->closure = *wanted;
    entry->closure.arguments = entry->arguments;
    memcpy(entry->arguments, wanted->arguments, bytes);
    entry->next = *bucket;
    *bucket = entry;
    return &entry->closure;
}

struct kitsune_closure *kitsune__make_closure(kitsune__transformer transform,
                                              enum kitsune__depth depth, size_t old_size,
                                              size_t new_size, int count, ...) {
    void *arguments[MOST_ARGUMENTS];
    struct kitsune_xf *xf = engine();
    va_list list;
    if (count < 0 || count > MOST_ARGUMENTS) {
        fail(xf, "a closure has %d arguments: at most %d are possible", count, MOST_ARGUMENTS);
        return NULL;
    }
    va_start(list, count);
    for (int i = 0; i < count; i++)
        arguments[i] = va_arg(list, void *);
    va_end(list);
    if (depth == KITSUNE__TARGET) {
        const struct kitsune_closure *target = count ? arguments[count - 1] : NULL;
        depth = target != NULL ? target->depth : KITSUNE__SHALLOW;
    }
    if (table.of != xf)
        memset(&table, 0, sizeof table);
    table.of = xf;
    return intern(xf, &(struct kitsune_closure){.transform = transform,
                                                .depth = depth,
                                                .old_size = old_size,
                                                .new_size = new_size,
                                                .count = count,
                                                .arguments = arguments});
}

/* ---- objects that the engine moves ------------------------------------------------------------ */

static void apply(struct kitsune_xf *xf, const struct kitsune_type *type, const void *in,
                  void *out) {
    const struct entry *entry = (const void *)((const char *)type - offsetof(struct entry, type));
    (void)xf;
    kitsune__invoke_closure(&entry->closure, in, out);
}

/* What the engine knows of objects of a closure. */
static const struct kitsune_type *type_of(const struct kitsune_closure *closure) {
    if (closure->type != NULL)
        return closure->type;
    struct entry *entry = (void *)((char *)closure - offsetof(struct entry, closure));
    entry->type = (struct kitsune_type){.name = "an object of a closure",
                                        .old_size = closure->old_size,
                                        .new_size = closure->new_size,
                                        .new_align = 16,
                                        .how = closure->depth == KITSUNE__DEEP ? KITSUNE_MOVE
                                                                               : KITSUNE_IN_PLACE,
                                        .apply = apply};
    return entry->closure.type = &entry->type;
}

static int is_raw(const struct kitsune_closure *closure) {
    return closure->transform == kitsune__transform_raw;
}

/* Writes a pointer: into a new object, or into one that keeps its address. */
static void put(struct kitsune_xf *xf, const void *in, void *out, void *pointer) {
    if (xf != NULL && in == out)
        kitsune__table()->store(xf, out, pointer);
    else
        memcpy(out, &pointer, sizeof pointer);
}

static void *get(const void *in) {
    void *pointer;
    memcpy(&pointer, in, sizeof pointer);
    return pointer;
}

/* The new address of `count` objects in a row outside of an update: all is done at once. */
static void *transform_now(void *old, size_t count, const struct kitsune_closure *element) {
    char *new = old;
    if (element->depth == KITSUNE__DEEP)
        new = calloc(count ? count : 1, element->new_size);
    for (size_t i = 0; new != NULL &&i < count; i++)
        kitsune__invoke_closure(element, (char *)old + i * element->old_size,
                                new + i * element->new_size);
    return new;
}

/* The new address of `count` objects in a row. */
static void *follow(struct kitsune_xf *xf, void *old, size_t count,
                    const struct kitsune_closure *element) {
    if (old == NULL)
        return NULL;
    if (xf == NULL)
        return transform_now(old, count, element);
    if (count == 1 && element->old_size == 1 && element->new_size == 1)
        return kitsune__table()->plain(xf, old, 0); /* a lone byte is the first of a text */
    if (is_raw(element))
        return kitsune__table()->plain(xf, old, count * element->old_size);
    return kitsune__table()->objects(xf, old, count, type_of(element));
}

/* ---- the transformers ------------------------------------------------------------------------- */

void kitsune__invoke_closure(const struct kitsune_closure *closure, const void *in, void *out) {
    struct kitsune_xf *xf = engine();
    if (closure == NULL)
        fail(xf, "XF_INVOKE of no closure");
    else if (closure->move == NULL)
        closure->transform((void *)in, out, closure->count, closure->arguments);
    else if (xf == NULL)
        fail(xf, "XF_INVOKE of a type's closure outside of an update");
    else
        closure->move(xf, in, out);
}

/* Elements are as far apart as their closure says, too. */
static int fits(struct kitsune_xf *xf, const struct kitsune_closure *element, size_t old_size,
                size_t new_size) {
    if (is_raw(element) || (element->old_size == old_size && element->new_size == new_size))
        return 1;
    fail(xf, "elements of %zu and %zu bytes, but their closure is for %zu and %zu", old_size,
         new_size, element->old_size, element->new_size);
    return 0;
}

void kitsune__transform_raw(void *in, void *out, int count, void **arguments) {
    if (in != out && count == 1)
        memcpy(out, in, (size_t)(uintptr_t)arguments[0]);
}

void kitsune__transform_ptr(void *in, void *out, int count, void **arguments) {
    const struct kitsune_closure *target = count == 1 ? arguments[0] : NULL;
    if (target == NULL)
        fail(engine(), "a pointer's closure has no target");
    else if (target->transform == kitsune__transform_array)
        kitsune__transform_ptrarray(in, out, target->count, target->arguments);
    else
        put(engine(), in, out, follow(engine(), get(in), 1, target));
}

void kitsune__transform_array(void *in, void *out, int count, void **arguments) {
    if (count != 4)
        return;
    const struct kitsune_closure *element = arguments[3];
    size_t length = (uintptr_t)arguments[0], old = (uintptr_t)arguments[1],
           new = (uintptr_t)arguments[2];
    for (size_t i = 0; i < length; i++)
        kitsune__invoke_closure(element, (char *)in + i * old, (char *)out + i * new);
}

void kitsune__transform_ptrarray(void *in, void *out, int count, void **arguments) {
    struct kitsune_xf *xf = engine();
    if (count != 4)
        return;
    const struct kitsune_closure *element = arguments[3];
    size_t length = (uintptr_t)arguments[0], old = (uintptr_t)arguments[1];
    if (!fits(xf, element, old, (uintptr_t)arguments[2]))
        return;
    if (is_raw(element)) /* bytes: as many as there are, whatever one of them is called */
        element = XF_RAW(old);
    put(xf, in, out, follow(xf, get(in), length, element));
}

static int is_zero(const char *bytes, size_t size) {
    while (size && !*bytes)
        bytes++, size--;
    return !size;
}

void kitsune__transform_ntarray(void *in, void *out, int count, void **arguments) {
    struct kitsune_xf *xf = engine();
    char *old = get(in);
    if (count != 3)
        return;
    const struct kitsune_closure *element = arguments[2];
    size_t size = (uintptr_t)arguments[0], length = 1;
    if (!fits(xf, element, size, (uintptr_t)arguments[1]))
        return;
    if (old == NULL)
        put(xf, in, out, NULL);
    else if (xf != NULL && !is_raw(element))
        put(xf, in, out, kitsune__table()->objects_terminated(xf, old, type_of(element)));
    else {
        while (!is_zero(old + (length - 1) * size, size))
            length++;
        put(xf, in, out, follow(xf, old, length, is_raw(element) ? XF_RAW(size) : element));
    }
}

void kitsune__transform_fptr(void *in, void *out, int count, void **arguments) {
    struct kitsune_xf *xf = engine();
    void *old = get(in);
    (void)count;
    (void)arguments;
    put(xf, in, out, xf != NULL && old != NULL ? kitsune__table()->function(xf, old) : old);
}

void kitsune__transform_type(void *in, void *out, int count, void **arguments) {
    (void)in;
    (void)out;
    (void)count;
    (void)arguments;
}

void kitsune__settle(void) {
    struct kitsune_xf *xf = engine();
    if (xf != NULL)
        kitsune__table()->settle(xf);
}

void kitsune__assert_null(const void *value, const char *text) {
    if (value != NULL)
        fail(engine(), "'%s' is not NULL", text);
}

/* ---- renames by hand -------------------------------------------------------------------------- */

void kitsune__register_renaming(const char *old_key, const char *new_key) {
    size_t old_size = strlen(old_key) + 1, new_size = strlen(new_key) + 1;
    struct renaming *renaming = malloc(sizeof *renaming + old_size + new_size);
    if (renaming == NULL)
        return;
    memcpy(renaming->old_key, old_key, old_size);
    renaming->new_key = memcpy(renaming->old_key + old_size, new_key, new_size);
    renaming->next = renamings;
    renamings = renaming;
}

/* When the image is unloaded. */
__attribute__((destructor)) static void forget_renamings(void) {
    while (renamings != NULL) {
        struct renaming *next = renamings->next;
        free(renamings);
        renamings = next;
    }
}

char *kitsune__mapped_name(const char *old_key) {
    for (const struct renaming *each = renamings; each != NULL; each = each->next)
        if (strcmp(each->old_key, old_key) == 0)
            return (char *)each->new_key;
    return NULL;
}
