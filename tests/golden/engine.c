/* The engine of engine.h. */
#include "engine.h"

#include "release_table.h"

#include <string.h>

#define MOST 64

static struct claim {
    const void *old;
    char *new;
    uint64_t count;
    const struct kitsune_type *type;
} claims[MOST];
static int claim_count, done_count;

static struct {
    void *where, *value;
} stores[MOST];
static int store_count;

static struct {
    const char *key;
    void *address;
} variables[MOST];
static int variable_count;

int engine_moved, engine_visited, engine_functions;

static void fail(struct kitsune_xf *xf, const char *format, ...) {
    (void)xf;
    printf("failed: %s\n", format);
    exit(1);
}

static void *objects(struct kitsune_xf *xf, const void *old, uint64_t count,
                     const struct kitsune_type *type) {
    struct claim *claim = claims;
    if (!old)
        return NULL;
    for (; claim < claims + claim_count; claim++)
        if (claim->old == old)
            return claim->new;
    if (claim_count == MOST)
        fail(xf, "too many objects");
    uint64_t tail = type->new_tail ? type->new_tail(xf, old) : 0;
    *claim = (struct claim){old, (void *)old, count, type};
    if (type->how == KITSUNE_MOVE)
        claim->new = calloc(1, count * type->new_size + tail);
    claim_count++;
    return claim->new;
}

static void *object(struct kitsune_xf *xf, const void *old, const struct kitsune_type *type) {
    for (struct claim *claim = claims; claim < claims + claim_count; claim++) {
        uint64_t offset = (uint64_t)((const char *)old - (const char *)claim->old);
        if (claim->type == type && offset < claim->count * type->old_size)
            return claim->new + offset / type->old_size * type->new_size;
    }
    return objects(xf, old, 1, type);
}

static void *plain(struct kitsune_xf *xf, const void *old, uint64_t size) {
    (void)xf;
    (void)size;
    return (void *)old;
}

static void *word(struct kitsune_xf *xf, const void *old) {
    return plain(xf, old, 0);
}

static void *function(struct kitsune_xf *xf, const void *old) {
    engine_functions++;
    return plain(xf, old, 0);
}

static void store(struct kitsune_xf *xf, void *where, void *value) {
    if (store_count == MOST)
        fail(xf, "too many stores");
    stores[store_count].where = where;
    stores[store_count++].value = value;
}

void engine_settle(struct kitsune_xf *xf) {
    for (; done_count < claim_count; done_count++) {
        struct claim *claim = &claims[done_count];
        const struct kitsune_type *type = claim->type;
        engine_moved += type->how == KITSUNE_MOVE;
        engine_visited += type->how == KITSUNE_IN_PLACE;
        for (uint64_t i = 0; type->transform && i < claim->count; i++)
            type->transform(xf, (const char *)claim->old + i * type->old_size,
                            claim->new + i * type->new_size);
    }
    for (int i = 0; i < store_count; i++)
        memcpy(stores[i].where, &stores[i].value, sizeof(void *));
    store_count = 0;
}

void engine_variable(const char *key, void *address) {
    variables[variable_count].key = key;
    variables[variable_count++].address = address;
}

static void *lookup_key(int new_version, const char *key) {
    for (int i = 0; i < variable_count && !new_version; i++)
        if (strcmp(variables[i].key, key) == 0)
            return variables[i].address;
    return NULL;
}

static void *scratch(struct kitsune_xf *xf, uint64_t size_bytes) {
    (void)xf;
    return calloc(1, size_bytes);
}

static const struct kitsune_launcher launcher = {
    .object = object,
    .objects = objects,
    .plain = plain,
    .word = word,
    .function = function,
    .store = store,
    .settle = engine_settle,
    .fail = fail,
    .lookup_key = lookup_key,
    .engine = engine,
    .scratch = scratch,
};
const struct kitsune_launcher *kitsune__launcher = &launcher;

const struct kitsune_launcher *kitsune__table(void) {
    return &launcher;
}

struct kitsune_xf *engine(void) {
    static char here; /* opaque to generated code, but not NULL */
    return (struct kitsune_xf *)(void *)&here;
}
