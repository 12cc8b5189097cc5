/*
 * The fixed part of the self-test of a release's transformers (self_test.h): fills, runs, compares.
 * It is the launcher for the release while it does so: the engine that it offers keeps a list of the
 * objects that it made, hands out new blocks, and notes what a transformer asks for, so that a pointer
 * is judged by what was asked and not only by its value.
 *
 *     self-test OLD NEW SEED ROUNDS [CASE]
 *
 * prints one JSON object per case. Each case runs in a child, so that a crash ends only that.
 */
#define _GNU_SOURCE
#include "self_test.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kitsune_abi.h"

#define MOST_DEPTH 2u      /* of objects behind the one that is transformed */
#define MOST_ELEMENTS 192u /* of an array: these first ones, and some at its end */
#define LAST_ELEMENTS 64u
#define MOST_LENGTH 64u /* of an array behind a pointer; a longer one is NULL */
#define MOST_TEXT 24u
#define MOST_COMPLAINTS 8u
#define MOST_READ 1000u
#define SLACK_BYTES 8192u /* for members that go on behind their type */
#define GUARD_BYTES 64u   /* behind each new object */
#define GUARD 0xa5
#define AREA 256u
#define CASE_LIMIT_S 20u

enum asked { NOT, AS_OBJECTS, AS_TERMINATED, AS_PLAIN };

/* An object that pointers of old objects lead to, or a row of them. */
struct block {
    struct block *next;
    char *old, *new;
    const struct kitsune__shape *shape; /* NULL: bytes */
    uint64_t count, old_bytes, new_bytes;
    enum asked asked;
    uint64_t asked_count; /* bytes for AS_PLAIN */
    const struct kitsune_type *type;
    int is_done;
};

struct store {
    struct store *next;
    void *where, *value;
};

/* One round of one case. */
static struct {
    uint64_t random;
    struct block *blocks;
    struct store *stores;
    void *memory; /* all of it, each piece begins with the address of the next */
    sigjmp_buf failed;
    char reason[512];
} run;

static const struct kitsune_release *releases[2]; /* old, new */
/* What pointers to functions, and unexplained ones, point to: the engine maps old to new ones. */
static char functions[2][AREA], words[2][AREA];
static unsigned *round_shown; /* shared with the child that runs a case */

/* ---- memory and random numbers ---------------------------------------------------------------- */

static void *memory(uint64_t bytes) {
    void **piece = NULL;
    if (bytes > (uint64_t)1 << 40 || posix_memalign((void **)&piece, 64, bytes + 64) != 0) {
        fprintf(stderr, "self-test: out of memory\n");
        exit(70);
    }
    memset(piece, 0, bytes + 64);
    *piece = run.memory;
    run.memory = piece;
    return (char *)piece + 64;
}

static void release_memory(void) {
    while (run.memory != NULL) {
        void *next = *(void **)run.memory;
        free(run.memory);
        run.memory = next;
    }
    run.blocks = NULL;
    run.stores = NULL;
}

/* Vigna's splitmix64. */
static uint64_t next_random(void) {
    uint64_t z = run.random += 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t limit) {
    return limit != 0 ? next_random() % limit : 0;
}

static uint64_t hash(const char *text, uint64_t seed) {
    uint64_t value = seed ^ 0xcbf29ce484222325ull;
    for (; *text; text++)
        value = (value ^ (unsigned char)*text) * 0x100000001b3ull;
    return value;
}

/* ---- the engine ------------------------------------------------------------------------------- */

__attribute__((noreturn, format(printf, 2, 3))) static void fail(struct kitsune_xf *xf,
                                                                 const char *format, ...) {
    va_list arguments;
    (void)xf;
    va_start(arguments, format);
    vsnprintf(run.reason, sizeof run.reason, format, arguments);
    va_end(arguments);
    siglongjmp(run.failed, 1);
}

static struct block *block_at(const void *old) {
    struct block *block = run.blocks;
    while (block != NULL && block->old != old)
        block = block->next;
    return block;
}

static int is_in(const char *area, const void *pointer) {
    return (uintptr_t)pointer >= (uintptr_t)area && (uintptr_t)pointer < (uintptr_t)area + AREA;
}

static void *mapped(char areas[2][AREA], const void *old) {
    return areas[1] + ((const char *)old - areas[0]);
}

/* A new object: bytes behind it are watched. */
static char *new_object(uint64_t bytes) {
    char *made = memory(bytes + GUARD_BYTES);
    memset(made + bytes, GUARD, GUARD_BYTES);
    return made;
}

static int is_overrun(const char *object, uint64_t bytes) {
    for (uint64_t i = 0; i < GUARD_BYTES; i++)
        if ((unsigned char)object[bytes + i] != GUARD)
            return 1;
    return 0;
}

static void *ask(struct kitsune_xf *xf, const void *old, uint64_t count,
                 const struct kitsune_type *type, enum asked how) {
    struct block *block = block_at(old);
    if (old == NULL)
        return NULL;
    if (block == NULL)
        fail(xf, "asked for objects of '%s' at an address where none is", type->name);
    block->asked = how;
    block->asked_count = count;
    block->type = type;
    if (type->how != KITSUNE_MOVE)
        return block->old;
    if (block->new == NULL) {
        uint64_t tail = type->new_tail != NULL ? type->new_tail(xf, old) : 0;
        uint64_t elements = how == AS_TERMINATED ? block->count : count;
        if (elements > 1u << 20 || tail > 1u << 24)
            fail(xf, "asked for %" PRIu64 " objects of '%s'", elements, type->name);
        block->new_bytes = type->new_size * elements + tail;
        block->new = new_object(block->new_bytes);
    }
    return block->new;
}

static void *engine_object(struct kitsune_xf *xf, const void *old,
                           const struct kitsune_type *type) {
    return ask(xf, old, 1, type, AS_OBJECTS);
}

static void *engine_objects(struct kitsune_xf *xf, const void *old, uint64_t count,
                            const struct kitsune_type *type) {
    return ask(xf, old, count, type, AS_OBJECTS);
}

static void *engine_terminated(struct kitsune_xf *xf, const void *old,
                               const struct kitsune_type *type) {
    return ask(xf, old, 0, type, AS_TERMINATED);
}

static void *engine_plain(struct kitsune_xf *xf, const void *old, uint64_t size) {
    struct block *block = block_at(old);
    (void)xf;
    if (block != NULL) {
        block->asked = AS_PLAIN;
        block->asked_count = size;
    }
    return is_in(words[0], old) ? mapped(words, old) : (void *)old;
}

static void *engine_function(struct kitsune_xf *xf, const void *old) {
    if (old != NULL && !is_in(functions[0], old))
        fail(xf, "asked for a function at an address where none is");
    return old != NULL ? mapped(functions, old) : NULL;
}

static void *engine_word(struct kitsune_xf *xf, const void *old) {
    (void)xf;
    if (is_in(functions[0], old))
        return mapped(functions, old);
    return is_in(words[0], old) ? mapped(words, old) : (void *)old;
}

static void engine_store(struct kitsune_xf *xf, void *where, void *value) {
    struct store *store = memory(sizeof *store);
    (void)xf;
    *store = (struct store){run.stores, where, value};
    run.stores = store;
}

static void apply_stores(void) {
    for (struct store *store = run.stores; store != NULL; store = store->next)
        memcpy(store->where, &store->value, sizeof store->value);
    run.stores = NULL;
}

/* Transforms what pointers were asked for so far: a rule wants to read it. */
static struct block *next_to_settle(void) {
    struct block *block = run.blocks;
    while (block != NULL && (block->type == NULL || block->is_done))
        block = block->next;
    return block;
}

static void engine_settle(struct kitsune_xf *xf) {
    for (struct block *block; (block = next_to_settle()) != NULL;) {
        const struct kitsune_type *type = block->type;
        char *to = type->how == KITSUNE_MOVE ? block->new : block->old;
        uint64_t count = block->asked == AS_TERMINATED ? block->count : block->asked_count;
        block->is_done = 1;
        for (uint64_t i = 0; i < count; i++) {
            const char *in = block->old + i * type->old_size;
            if (type->transform != NULL)
                type->transform(xf, in, to + i * type->new_size);
            else if (type->apply != NULL)
                type->apply(xf, type, in, to + i * type->new_size);
        }
    }
}

static struct kitsune_xf *engine_engine(void) {
    return (struct kitsune_xf *)&run;
}

static void *engine_allocate(struct kitsune_xf *xf, uint64_t bytes, uint32_t align) {
    (void)xf;
    (void)align;
    return memory(bytes);
}

static void *engine_scratch(struct kitsune_xf *xf, uint64_t bytes) {
    (void)xf;
    return memory(bytes);
}

/* ---- the rest of the launcher's table: what rules may call ------------------------------------- */

static int no(void) {
    return 0;
}

static int is_updating(const struct kitsune_release *site) {
    return site == releases[1];
}

static int is_updating_from(const struct kitsune_release *site, const char *name) {
    (void)name;
    return site == releases[1];
}

static void ignore_release(const struct kitsune_release *site) {
    (void)site;
}

static void ignore_point(const struct kitsune_release *site, const char *name) {
    (void)site;
    (void)name;
}

static int migrate_none(const struct kitsune_release *site, const char *key, void *address) {
    (void)site;
    (void)key;
    (void)address;
    return 0;
}

static void ignore_path(char *path) {
    free(path);
}

static void ignore(void) {
}

static void *lookup_key(int new_version, const char *key) {
    const struct kitsune_release *release = releases[new_version != 0];
    for (const struct kitsune_symbol *s = release->symbols; s < release->symbols_end; s++) {
        if (s->key == NULL || strcmp(s->key, key) != 0 || s->address == NULL)
            continue;
        if (s->flags & KITSUNE_SYMBOL_THREAD_LOCAL)
            return ((void *(*)(void))s->address)();
        return (void *)s->address;
    }
    return NULL;
}

static const char *lookup_address(int new_version, const void *address) {
    const struct kitsune_release *release = releases[new_version != 0];
    for (const struct kitsune_symbol *s = release->symbols; s < release->symbols_end; s++)
        if (s->key != NULL && s->address == address && address != NULL)
            return s->key;
    return NULL;
}

static void ignore_log(const char *format, va_list arguments) {
    (void)format;
    (void)arguments;
}

static struct ktthread_info *no_thread(void) {
    return NULL;
}

static int add_no_thread(const struct ktthread_info *info) {
    (void)info;
    return 0;
}

static void ignore_callback(void (*callback)(void *), void *argument) {
    (void)callback;
    (void)argument;
}

static void ignore_frame(struct kitsune_frame *frame) {
    (void)frame;
}

static const struct kitsune_launcher table = {
    .abi = KITSUNE_ABI,
    .size = sizeof(struct kitsune_launcher),
    .update = ignore_point,
    .is_updating = is_updating,
    .is_updating_from = is_updating_from,
    .has_updated = no,
    .update_requested = no,
    .signal_update = ignore,
    .set_next_version = ignore_path,
    .clear_request = ignore,
    .do_automigrate = ignore_release,
    .migrate = migrate_none,
    .lookup_key = lookup_key,
    .lookup_address = lookup_address,
    .log = ignore_log,
    .threads_reset = ignore,
    .threads_next = no_thread,
    .thread_remove = ignore,
    .thread_add = add_no_thread,
    .thread_callback = ignore_callback,
    .enter = ignore_frame,
    .object = engine_object,
    .objects = engine_objects,
    .objects_terminated = engine_terminated,
    .plain = engine_plain,
    .function = engine_function,
    .word = engine_word,
    .store = engine_store,
    .settle = engine_settle,
    .fail = fail,
    .engine = engine_engine,
    .allocate = engine_allocate,
    .scratch = engine_scratch,
    .calls = NULL, /* wrapped calls are libc's */
};
const struct kitsune_launcher *const kitsune__launcher = &table;

/* ---- going through an object ------------------------------------------------------------------- */

struct place {
    char *old, *new;             /* of the value */
    char *old_owner, *new_owner; /* of the record that has it */
};

struct walk {
    char *old, *new; /* of the object; each may be NULL */
    void (*visit)(const struct walk *, const struct kitsune__member *, const struct place *);
    void *state;
};

static char *at(char *base, uint64_t offset) {
    return base != NULL ? base + offset : NULL;
}

/* How many elements an array has, given where the member is in the first of each array around. */
static uint64_t length_of(const struct kitsune__member *member, const struct kitsune__dimension *d,
                          char *const *old) {
    if (d->length == NULL)
        return d->count;
    uint64_t wanted = d->length(old[d->owner_dimensions] + d->owner - member->old_offset);
    if (d->count != 0)
        return wanted < d->count ? wanted : d->count;
    if (wanted > SLACK_BYTES / (d->old_stride + 1))
        fail(NULL, "a length is %" PRIu64 " for random values", wanted);
    return wanted;
}

static int is_in_use(const struct kitsune__member *member, char *const *old) {
    for (uint32_t i = 0; i < member->condition_count; i++) {
        const struct kitsune__condition *c = &member->conditions[i];
        if (!c->holds(old[c->owner_dimensions] + c->owner - member->old_offset))
            return 0;
    }
    return 1;
}

/* `old` and `new` have the addresses at each level of arrays, of which this is one. */
static void step_in(const struct walk *walk, const struct kitsune__member *member, uint32_t level,
                    char **old, char **new) {
    if (level == member->dimension_count) {
        if (!is_in_use(member, old))
            return;
        uint32_t owner = member->owner_dimensions;
        struct place place = {old[level], new[level],
                              at(old[owner], member->old_owner - member->old_offset),
                              at(new[owner], member->new_owner - member->new_offset)};
        walk->visit(walk, member, &place);
        return;
    }
    const struct kitsune__dimension *d = &member->dimensions[level];
    uint64_t count = length_of(member, d, old);
    for (uint64_t i = 0; i < count; i++) {
        if (i == MOST_ELEMENTS && count > MOST_ELEMENTS + LAST_ELEMENTS)
            i = count - LAST_ELEMENTS;
        old[level + 1] = at(old[level], i * d->old_stride);
        new[level + 1] = at(new[level], i * d->new_stride);
        step_in(walk, member, level + 1, old, new);
    }
}

static void walk_member(const struct walk *walk, const struct kitsune__member *member) {
    char *old[KITSUNE__MOST_DIMENSIONS + 1] = {at(walk->old, member->old_offset)};
    char *new[KITSUNE__MOST_DIMENSIONS + 1] = {at(walk->new, member->new_offset)};
    step_in(walk, member, 0, old, new);
}

/* ---- filling ----------------------------------------------------------------------------------- */

static char *make_objects(const struct kitsune__shape *shape, uint64_t count, unsigned depth);

static int is_pointer(uint32_t kind) {
    return kind >= KITSUNE__TEXT;
}

static int depends_on_numbers(const struct kitsune__member *member) {
    for (uint32_t i = 0; i < member->dimension_count; i++)
        if (member->dimensions[i].length != NULL)
            return 1;
    return member->condition_count != 0;
}

static void put_number(const struct kitsune__member *member, const struct place *place,
                       int64_t value) {
    if (member->set_old != NULL)
        member->set_old(place->old_owner, value);
    else
        memcpy(place->old, &value,
               member->old_size < sizeof value ? member->old_size : sizeof value);
}

static void fill_float(char *to, uint64_t size) {
    double value = (double)(int64_t)(next_random() >> 20) / 1024 - 4e9;
    if (size == sizeof(float)) {
        float small = (float)value;
        memcpy(to, &small, sizeof small);
    } else if (size == sizeof(double)) {
        memcpy(to, &value, sizeof value);
    } else if (size == sizeof(long double)) {
        long double big = (long double)value;
        memcpy(to, &big, 10); /* the rest is padding */
    }
}

static void fill_plain(const struct walk *walk, const struct kitsune__member *member,
                       const struct place *place) {
    (void)walk;
    if (member->enumerator_count != 0) {
        put_number(member, place, member->enumerators[below(member->enumerator_count)].old_value);
    } else if (member->most != 0) {
        put_number(member, place, (int64_t)below(member->most + 1));
    } else if (member->old_kind == KITSUNE__BOOL) {
        put_number(member, place, (int64_t)below(2));
    } else if (member->old_kind == KITSUNE__FLOAT) {
        fill_float(place->old, member->old_size);
    } else if (member->new_kind == KITSUNE__NONE && member->old_kind != KITSUNE__BYTES) {
        put_number(member, place, (int64_t)below(MOST_READ)); /* at most read by a rule */
    } else if (member->set_old != NULL) {
        member->set_old(place->old_owner, (int64_t)next_random());
    } else {
        for (uint64_t i = 0; i < member->old_size; i++)
            place->old[i] = (char)(1 + below(255));
    }
}

static struct block *new_block(char *old, const struct kitsune__shape *shape, uint64_t count,
                               uint64_t bytes) {
    struct block *block = memory(sizeof *block);
    *block = (struct block){
        .next = run.blocks, .old = old, .shape = shape, .count = count, .old_bytes = bytes};
    run.blocks = block;
    return block;
}

static char *make_text(uint64_t length) {
    char *text = memory(length + 1);
    for (uint64_t i = 0; i < length; i++)
        text[i] = (char)('a' + below(26));
    new_block(text, NULL, length, length + 1);
    return text;
}

static char *make_pointer(const struct kitsune__member *member, const struct place *place,
                          unsigned depth) {
    uint64_t count = member->length != NULL ? member->length(place->old_owner) : 1;
    if (below(5) == 0)
        return NULL;
    switch (member->old_kind) {
    case KITSUNE__FUNCTION:
        return functions[0] + below(AREA);
    case KITSUNE__WORD:
        return words[0] + below(AREA);
    case KITSUNE__TEXT:
        return count <= MOST_LENGTH ? make_text(member->length != NULL ? count : below(MOST_TEXT))
                                    : NULL;
    case KITSUNE__TERMINATED:
        count = 1 + below(4);
        break;
    default:
        break;
    }
    if (member->target == NULL || depth >= MOST_DEPTH || count > MOST_LENGTH)
        return NULL;
    char *made = make_objects(member->target, count, depth + 1);
    if (member->old_kind == KITSUNE__TERMINATED)
        memset(made + (count - 1) * member->target->old_size, 0, member->target->old_size);
    return made;
}

static void fill_pointer(const struct walk *walk, const struct kitsune__member *member,
                         const struct place *place) {
    char *value = make_pointer(member, place, *(const unsigned *)walk->state);
    memcpy(place->old, &value, sizeof value);
}

/* Numbers first, then what their values make room for, then pointers, whose lengths they are. */
static void fill(char *object, const struct kitsune__shape *shape, unsigned depth) {
    struct walk plain = {object, NULL, fill_plain, &depth};
    struct walk pointers = {object, NULL, fill_pointer, &depth};
    for (int pass = 0; pass < 3; pass++) {
        for (uint64_t i = 0; i < shape->member_count; i++) {
            const struct kitsune__member *member = &shape->members[i];
            if (member->old_kind == KITSUNE__NONE)
                continue;
            if (is_pointer(member->old_kind) ? pass == 2 : pass == depends_on_numbers(member))
                walk_member(is_pointer(member->old_kind) ? &pointers : &plain, member);
        }
    }
}

static char *make_objects(const struct kitsune__shape *shape, uint64_t count, unsigned depth) {
    uint64_t bytes = shape->old_size * count;
    char *made = memory(bytes + (shape->flexible ? SLACK_BYTES : 0) + 1);
    new_block(made, shape, count, bytes);
    for (uint64_t i = 0; i < count; i++)
        fill(made + i * shape->old_size, shape, depth);
    return made;
}

/* ---- comparing --------------------------------------------------------------------------------- */

/* What is wrong, of each member once; `text` is a list of JSON objects. */
struct verdict {
    unsigned complaints;
    const char *members[MOST_COMPLAINTS];
    size_t length;
    char text[16384];
};

__attribute__((format(printf, 2, 3))) static void append(struct verdict *verdict,
                                                         const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof verdict->text - verdict->length;
    int made = vsnprintf(verdict->text + verdict->length, room, format, arguments);
    va_end(arguments);
    if (made > 0)
        verdict->length += (size_t)made < room ? (size_t)made : room - 1;
}

/* `text` as it stands in a JSON string; of one buffer, which the next call but three uses again. */
static const char *quoted(const char *text) {
    static char buffers[4][1024];
    static unsigned turn;
    char *buffer = buffers[turn++ % 4], *to = buffer;
    for (; *text && to < buffer + sizeof buffers[0] - 8; text++) {
        if (*text == '"' || *text == '\\')
            *to++ = '\\';
        *to++ = (unsigned char)*text < ' ' ? ' ' : *text;
    }
    *to = 0;
    return buffer;
}

static void complain(struct verdict *verdict, const char *path, const char *old, const char *new,
                     const char *wanted) {
    for (unsigned i = 0; i < verdict->complaints; i++)
        if (strcmp(verdict->members[i], path) == 0)
            return;
    if (verdict->complaints == MOST_COMPLAINTS)
        return;
    append(verdict, "%s{\"member\": \"%s\", \"round\": %u, ", verdict->complaints ? ", " : "",
           quoted(path), *round_shown);
    append(verdict, "\"old\": \"%s\", \"new\": \"%s\", \"wanted\": \"%s\"}", quoted(old),
           quoted(new), quoted(wanted));
    verdict->members[verdict->complaints++] = path;
}

__extension__ typedef __int128 wide;

static int is_signed(uint32_t kind) {
    return kind == KITSUNE__SIGNED;
}

/* An integer of up to 16 bytes. */
static wide number(const char *from, uint64_t size, uint32_t kind) {
    wide value = is_signed(kind) && size != 0 && from[size - 1] < 0 ? -1 : 0;
    memcpy(&value, from, size < sizeof value ? size : sizeof value);
    return value;
}

static wide old_number(const struct kitsune__member *member, const struct place *place) {
    if (member->get_old == NULL)
        return number(place->old, member->old_size, member->old_kind);
    int64_t value = member->get_old(place->old_owner);
    return is_signed(member->old_kind) ? (wide)value : (wide)(uint64_t)value;
}

static wide new_number(const struct kitsune__member *member, const struct place *place) {
    if (member->get_new == NULL)
        return number(place->new, member->new_size, member->new_kind);
    int64_t value = member->get_new(place->new_owner);
    return is_signed(member->new_kind) ? (wide)value : (wide)(uint64_t)value;
}

static long double real(const char *from, uint64_t size) {
    float small = 0;
    double middle = 0;
    long double big = 0;
    if (size == sizeof small)
        return memcpy(&small, from, sizeof small), (long double)small;
    if (size == sizeof middle)
        return memcpy(&middle, from, sizeof middle), (long double)middle;
    memcpy(&big, from, 10);
    return big;
}

static const char *as_text(wide value, char buffer[64]) {
    if (value >= INT64_MIN && value <= INT64_MAX)
        snprintf(buffer, 64, "%" PRId64, (int64_t)value);
    else if (value >= 0 && value <= UINT64_MAX)
        snprintf(buffer, 64, "%" PRIu64, (uint64_t)value);
    else
        snprintf(buffer, 64, "0x%016" PRIx64 "%016" PRIx64, (uint64_t)(value >> 64),
                 (uint64_t)value);
    return buffer;
}

static const char *as_bytes(const char *from, uint64_t size, char buffer[64]) {
    size_t length = 0;
    for (uint64_t i = 0; i < size && length < 58; i++)
        length += (size_t)snprintf(buffer + length, 64 - length, "%02x", (unsigned char)from[i]);
    snprintf(buffer + length, 64 - length, "%s", length >= 58 ? "..." : "");
    return buffer;
}

static void compare_number(struct verdict *verdict, const struct kitsune__member *member,
                           const struct place *place) {
    char texts[3][64];
    wide old = old_number(member, place), new = new_number(member, place), wanted = old;
    if (member->get_old == NULL && member->get_new == NULL &&
        member->old_size == member->new_size) /* the same bits, as whatever they are read */
        wanted = number(place->old, member->old_size, member->new_kind);
    for (uint64_t i = 0; i < member->enumerator_count; i++)
        if (member->enumerators[i].old_value == (int64_t)old) {
            wanted = member->enumerators[i].new_value;
            break;
        }
    if (member->enumerator_count != 0 && !is_signed(member->new_kind) && member->get_new == NULL)
        wanted = number((char *)&wanted, member->new_size, member->new_kind);
    if (new != wanted)
        complain(verdict, member->path, as_text(old, texts[0]), as_text(new, texts[1]),
                 as_text(wanted, texts[2]));
}

static void compare_plain(struct verdict *verdict, const struct kitsune__member *member,
                          const struct place *place) {
    char texts[2][64];
    uint32_t kind = member->old_kind;
    if (kind == KITSUNE__FLOAT && member->new_kind == KITSUNE__FLOAT) {
        long double old = real(place->old, member->old_size),
                    new = real(place->new, member->new_size);
        snprintf(texts[0], sizeof texts[0], "%Lg", old);
        snprintf(texts[1], sizeof texts[1], "%Lg", new);
        if (old < new || old > new)
            complain(verdict, member->path, texts[0], texts[1], texts[0]);
    } else if (kind == KITSUNE__BYTES || kind == KITSUNE__FLOAT) {
        const char *wanted = as_bytes(place->old, member->old_size, texts[0]);
        if (memcmp(place->old, place->new, member->old_size) != 0)
            complain(verdict, member->path, wanted,
                     as_bytes(place->new, member->new_size, texts[1]), wanted);
    } else {
        compare_number(verdict, member, place);
    }
}

static const char *described(const void *pointer) {
    if (pointer == NULL)
        return "NULL";
    for (struct block *block = run.blocks; block != NULL; block = block->next)
        if (block->old == pointer || block->new == pointer)
            return block->new == pointer ? "the new object" : "the old object";
    for (int side = 0; side < 2; side++)
        if (is_in(functions[side], pointer) || is_in(words[side], pointer))
            return side ? "an address of the new image" : "an address of the old image";
    return "another address";
}

/* Tells whether an object was asked for as what it is; else what is wrong, in `text`. */
static int is_asked_well(const struct kitsune__member *member, const struct block *block,
                         char text[160]) {
    const struct kitsune__shape *shape = member->target;
    if (block->asked == NOT) {
        snprintf(text, 160, "the engine was not asked");
        return !(member->flags & KITSUNE__VISITED) && !(shape != NULL && shape->moved);
    }
    if (block->asked == AS_PLAIN) {
        uint64_t bytes = block->asked_count;
        snprintf(text, 160, "asked for as %" PRIu64 " plain bytes of %" PRIu64, bytes,
                 block->old_bytes);
        if (member->old_kind == KITSUNE__TEXT)
            return member->length != NULL ? bytes == block->count : bytes == 0;
        return member->old_kind == KITSUNE__TERMINATED ||
               (shape != NULL && !shape->moved && bytes == block->old_bytes);
    }
    uint64_t count = block->asked == AS_TERMINATED ? block->count : block->asked_count;
    snprintf(text, 160, "asked for as %" PRIu64 " of '%s', is %" PRIu64 " of '%s'", count,
             block->type->name, block->count, shape != NULL ? shape->name : "bytes");
    return shape != NULL && count == block->count &&
           (block->asked == AS_TERMINATED) == (member->old_kind == KITSUNE__TERMINATED) &&
           (block->type->how == KITSUNE_MOVE) == (shape->moved != 0) &&
           (shape->flexible ||
            (block->type->old_size == shape->old_size && block->type->new_size == shape->new_size));
}

static void compare_pointer(struct verdict *verdict, const struct kitsune__member *member,
                            const struct place *place) {
    void *old, *new;
    char text[160];
    memcpy(&old, place->old, sizeof old);
    memcpy(&new, place->new, sizeof new);
    void *wanted = old;
    struct block *block = old != NULL ? block_at(old) : NULL;
    int is_visited = (member->flags & KITSUNE__VISITED) != 0;
    if (old != NULL && block == NULL) { /* a function or an unexplained word */
        wanted = is_in(functions[0], old) ? mapped(functions, old) : mapped(words, old);
        if (!is_visited && new == old)
            return;
    } else if (block != NULL && member->target != NULL && member->target->moved) {
        wanted = block->new != NULL ? block->new : memory(1);
    }
    if (new != wanted)
        complain(verdict, member->path, described(old), described(new),
                 wanted == old || block == NULL ? described(wanted) : "the new object");
    else if (block != NULL && !is_asked_well(member, block, text))
        complain(verdict, member->path, described(old), text, "asked for as what it is");
}

/* `state` of the walk that compares. */
struct comparison {
    struct verdict *verdict;
    const char *before; /* the new object as it was */
    const char *new;    /* and where it is */
};

static void compare_initial(const struct comparison *c, const struct kitsune__member *member,
                            const struct place *place) {
    char texts[2][64];
    const char *before = c->before + (place->new - c->new);
    if (member->get_new != NULL) {
        int64_t was = member->get_new(c->before + (place->new_owner - c->new)),
                is = member->get_new(place->new_owner);
        if (was != is)
            complain(c->verdict, member->path, "", as_text(is, texts[0]), as_text(was, texts[1]));
    } else if (memcmp(before, place->new, member->new_size) != 0) {
        complain(c->verdict, member->path, "", as_bytes(place->new, member->new_size, texts[0]),
                 as_bytes(before, member->new_size, texts[1]));
    }
}

static void compare(const struct walk *walk, const struct kitsune__member *member,
                    const struct place *place) {
    const struct comparison *comparison = walk->state;
    if (member->flags & KITSUNE__INITIAL)
        compare_initial(comparison, member, place);
    else if (is_pointer(member->old_kind))
        compare_pointer(comparison->verdict, member, place);
    else
        compare_plain(comparison->verdict, member, place);
}

static int is_compared(const struct kitsune__member *member) {
    return (member->old_kind != KITSUNE__NONE && member->new_kind != KITSUNE__NONE) ||
           (member->flags & KITSUNE__INITIAL) != 0;
}

/* ---- running ----------------------------------------------------------------------------------- */

static const void *transformer(const struct kitsune__case *tested) {
    return (const char *)releases[1] - kitsune__release_offset + tested->offset;
}

static void call(const struct kitsune__case *tested, const void *old, void *new) {
    const void *address = transformer(tested);
    if (tested->mode == KITSUNE__VARIABLE) {
        int (*migrate)(struct kitsune_xf *, const void *, void *);
        memcpy(&migrate, &address, sizeof migrate);
        (void)migrate(engine_engine(), old, new);
    } else {
        void (*transform)(struct kitsune_xf *, const void *, void *);
        memcpy(&transform, &address, sizeof transform);
        transform(engine_engine(), old, new);
    }
}

/* Fills an object, transforms it, compares. */
static void run_round(const struct kitsune__case *tested, struct verdict *verdict) {
    const struct kitsune__shape *shape = tested->shape;
    uint64_t slack = shape->flexible ? SLACK_BYTES : 0;
    uint64_t old_bytes = shape->old_size + slack, new_bytes = shape->new_size + slack;
    char *old = make_objects(shape, 1, 0), *kept = memory(old_bytes + 1), *new = old;
    memcpy(kept, old, old_bytes);
    if (tested->mode != KITSUNE__PATCH)
        new = new_object(new_bytes);
    if (tested->mode == KITSUNE__VARIABLE)
        for (uint64_t i = 0; i < new_bytes; i++)
            new[i] = (char)next_random();
    char *before = memory(new_bytes + 1);
    memcpy(before, new, new_bytes);
    call(tested, old, new);
    if (tested->mode == KITSUNE__PATCH) {
        if (memcmp(kept, old, old_bytes) != 0)
            complain(verdict, "", "", "written", "left for the engine to write");
        apply_stores();
    } else {
        if (!tested->is_choosy && memcmp(kept, old, old_bytes) != 0)
            complain(verdict, "", "", "the old object was written", "only read");
        if (is_overrun(new, new_bytes))
            complain(verdict, "", "", "written behind the new object", "not written");
    }
    struct comparison comparison = {verdict, before, new};
    struct walk walk = {kept, new, compare, &comparison};
    for (uint64_t i = 0; i < shape->member_count; i++)
        if (is_compared(&shape->members[i]))
            walk_member(&walk, &shape->members[i]);
}

static void run_case(const struct kitsune__case *tested, uint64_t seed, unsigned rounds) {
    static struct verdict verdict;
    static unsigned ended;
    volatile unsigned *round = round_shown;
    alarm(CASE_LIMIT_S);
    for (*round = 0; *round < rounds; ++*round) {
        run.random = hash(tested->name, seed) + *round * 0x632be59bd9b4e019ull;
        if (sigsetjmp(run.failed, 0) == 0)
            run_round(tested, &verdict);
        else if (++ended != 0 && !tested->is_choosy)
            break;
        release_memory();
    }
    int is_stopped = ended != 0 && (!tested->is_choosy || ended == rounds);
    printf("{\"case\": \"%s\", \"rounds\": %u, \"ended\": \"%s\", \"complaints\": [%s]}\n",
           tested->name, *round - (is_stopped ? 0 : ended), is_stopped ? quoted(run.reason) : "",
           verdict.text);
    fflush(stdout);
    _exit(0);
}

static void run_apart(const struct kitsune__case *tested, uint64_t seed, unsigned rounds) {
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        run_case(tested, seed, rounds);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("self-test");
        exit(70);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        printf("{\"case\": \"%s\", \"rounds\": %u, \"ended\": \"%s\", \"complaints\": []}\n",
               tested->name, *round_shown,
               WIFSIGNALED(status) ? quoted(strsignal(WTERMSIG(status))) : "it ended the process");
    fflush(stdout);
}

static const struct kitsune_release *loaded(const char *path) {
    void *image = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct kitsune_release *release = image ? dlsym(image, "kitsune_release") : NULL;
    if (release == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    if (release->abi != KITSUNE_ABI || release->size != sizeof *release) {
        fprintf(stderr, "%s was built for another version of Kitsune's runtime\n", path);
        exit(1);
    }
    *release->launcher = &table;
    return release;
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 6)
        return 2;
    uint64_t seed = strtoull(argv[3], NULL, 10);
    unsigned rounds = (unsigned)strtoul(argv[4], NULL, 10);
    round_shown =
        mmap(NULL, sizeof *round_shown, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (round_shown == MAP_FAILED)
        return 70;
    releases[0] = loaded(argv[1]);
    releases[1] = loaded(argv[2]);
    for (uint64_t i = 0; i < kitsune__case_count; i++)
        if (argc == 5 || strcmp(argv[5], kitsune__cases[i].name) == 0)
            run_apart(&kitsune__cases[i], seed, rounds);
    fflush(stdout);
    return 0;
}
