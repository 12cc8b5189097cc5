/* The look through memory (scan.h). Everything below `copy_main` runs in the copy. */
#define _GNU_SOURCE
#include "scan.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "blocks.h"
#include "linkmap.h"
#include "mappings.h"
#include "pages.h"
#include "platform.h"

#define PAGE 4096u
#define MAPPINGS_MAX 4096u
/* Below this, a look at which pages exist costs more than reading them. */
#define SMALL_BYTES (64u << 10)
#define SIGNALS 64

/* ---- in the parent -------------------------------------------------------------------------- */

struct kitsune__scan *kitsune__scan_prepare(const struct kitsune__retired *objects) {
    uint64_t count = objects ? kitsune__retired_count(objects) : 0;
    size_t bytes = sizeof(struct kitsune__scan) + count / 8 + 1;
    struct kitsune__scan *scan =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (scan == MAP_FAILED)
        return NULL;
    scan->bytes = bytes;
    scan->whole_count = count;
    return scan;
}

void kitsune__scan_skip(struct kitsune__scan *scan, const void *start, const void *end) {
    if (start && scan->skipped_count < KITSUNE__SCAN_SKIPPED)
        scan->skipped[scan->skipped_count++] =
            (struct kitsune__range){(uintptr_t)start, (uintptr_t)end};
}

static void add_noise(struct kitsune__scan_image *image, uintptr_t start, uint64_t bytes) {
    if (image->noise_count < KITSUNE__SCAN_NOISE)
        image->noise[image->noise_count++] = (struct kitsune__range){start, start + bytes};
}

/*
 * What is of the dynamic linker only. Its tables hold names of symbol versions, which lie in the string table, and
 * symbols. It has freed such tables of an earlier image, maybe at the same addresses: what came to lie in
 * their place has words of them beyond its end.
 */
static void add_dynamic_noise(struct kitsune__scan_image *image, const struct link_map *map) {
    uintptr_t symbols = 0, strings = 0, relocations = 0;
    uint64_t bytes = 0, relocation_bytes = 0;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
        if (entry->d_tag == DT_SYMTAB)
            symbols = entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRTAB)
            strings = entry->d_un.d_ptr;
        if (entry->d_tag == DT_STRSZ)
            bytes = entry->d_un.d_val;
        if (entry->d_tag == DT_RELA)
            relocations = entry->d_un.d_ptr;
        if (entry->d_tag == DT_RELASZ)
            relocation_bytes = entry->d_un.d_val;
    }
    /* Where one ends and the other begins only linkers know; no table of the program lies between. */
    uintptr_t first = symbols && symbols < strings ? symbols : strings;
    add_noise(image, first, strings + bytes - first);
    add_noise(image, relocations, relocation_bytes);
}

static void add_header_noise(struct kitsune__scan_image *image) {
    uintptr_t start = image->range.start;
    const ElfW(Ehdr) *file = (const void *)start;
    const ElfW(Phdr) *headers = (const void *)(start + file->e_phoff);
    add_noise(image, start, file->e_phoff + file->e_phnum * sizeof *headers);
    for (size_t i = 0; i < file->e_phnum; i++)
        if (headers[i].p_type == PT_DYNAMIC)
            add_noise(image, start + headers[i].p_vaddr, headers[i].p_memsz);
        else if (headers[i].p_type == PT_GNU_EH_FRAME)
            add_noise(image, start + headers[i].p_vaddr, 1);
        else if (headers[i].p_type == PT_TLS) /* what thread-locals begin as */
            add_noise(image, start + headers[i].p_vaddr, headers[i].p_memsz);
}

void kitsune__scan_skip_link_map(struct kitsune__scan *scan, const void *handle) {
    struct kitsune__range map = kitsune__link_map(handle);
    kitsune__scan_skip(scan, (void *)map.start, (void *)map.end);
}

/* The image's own thread-local variables go with it. */
static void skip_thread_locals(struct kitsune__scan *scan, const struct kitsune__image *image) {
    void *block = NULL;
    const uint8_t *start = image->release->image_start;
    const ElfW(Ehdr) *file = (const void *)start;
    const ElfW(Phdr) *headers = (const void *)(start + file->e_phoff);
    if (dlinfo(image->handle, RTLD_DI_TLS_DATA, &block) != 0 || !block)
        return;
    for (size_t i = 0; i < file->e_phnum; i++)
        if (headers[i].p_type == PT_TLS)
            kitsune__scan_skip(scan, block, (char *)block + headers[i].p_memsz);
}

int kitsune__scan_add_image(struct kitsune__scan *scan, const struct kitsune__image *image) {
    if (scan->image_count == KITSUNE__SCAN_IMAGES)
        return -1;
    struct kitsune__scan_image *entry = &scan->images[scan->image_count++];
    const struct kitsune_release *release = image->release;
    entry->range =
        (struct kitsune__range){(uintptr_t)release->image_start, (uintptr_t)release->image_end};
    if (memcmp(release->image_start, ELFMAG, SELFMAG) == 0)
        add_header_noise(entry);
    /* Handed out by the launcher's bookkeeping, and by the linker's. */
    kitsune__scan_skip(scan, image, image + 1);
    kitsune__scan_skip(scan, image->start, image->end);
    kitsune__scan_skip(scan, release->image_start, release->image_end);
    if (image->handle) {
        kitsune__scan_skip_link_map(scan, image->handle);
        add_dynamic_noise(entry, image->handle);
        skip_thread_locals(scan, image);
    }
    return 0;
}

static void copy_main(struct kitsune__scan *scan, struct kitsune__retired *objects,
                      uintptr_t stack_low);

int kitsune__scan_start(struct kitsune__scan *scan, struct kitsune__retired *objects,
                        const void *stack_low) {
    uint64_t all = ~0ull, before = 0;
    /* Blocked before the copy is there: no handler of the program may run in it. */
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    /* CLONE_FILES: until it runs, the copy does not hold what another thread closes. */
    long copy = kitsune__copy_process(CLONE_FILES);
    if (copy == 0) {
        kitsune__close_all_but(kitsune__proc_descriptor());
        scan->has_let_go = 1;
        copy_main(scan, objects, (uintptr_t)stack_low);
        KITSUNE__SYSCALL(SYS_exit_group, 0);
    }
    if (copy > 0)
        kitsune__await_word((int)copy, &scan->has_let_go);
    KITSUNE__SYSCALL(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof before);
    scan->copy = (pid_t)copy;
    return copy > 0 ? 0 : -1;
}

int kitsune__scan_ended(struct kitsune__scan *scan, uint64_t limit_ns) {
    uint64_t deadline = kitsune__now_ns() + limit_ns;
    struct timespec nap = {0, 200000};
    for (;;) {
        long got = scan->copy > 0 ? KITSUNE__SYSCALL(SYS_wait4, scan->copy, 0,
                                                     kitsune__copy_wait() | WNOHANG, 0)
                                  : -1;
        if (got != 0) {
            scan->copy = 0;
            return 1;
        }
        if (kitsune__now_ns() >= deadline)
            return 0;
        KITSUNE__SYSCALL(SYS_nanosleep, &nap, 0);
    }
}

void kitsune__scan_end(struct kitsune__scan *scan) {
    if (scan->copy > 0) {
        KITSUNE__SYSCALL(SYS_kill, scan->copy, SIGKILL);
        KITSUNE__SYSCALL(SYS_wait4, scan->copy, 0, kitsune__copy_wait(), 0);
    }
    munmap(scan, scan->bytes);
}

void kitsune__scan_forget(struct kitsune__scan *scan) {
    munmap(scan, scan->bytes);
}

/* ---- in the copy ---------------------------------------------------------------------------- */

struct part {
    struct kitsune__range range;
    char name[48];
};

struct copy {
    struct kitsune__scan *scan;
    struct kitsune__retired *objects;
    uintptr_t stack_low;
    struct kitsune__range hull;   /* of all images */
    int pages;                    /* for pages.h */
    struct kitsune__range heap;   /* walked by blocks; empty if that failed */
    uintptr_t run_start, run_end; /* consecutive blocks in use */
    const char *name;             /* of what is being looked through */
    uint32_t part_count;
    struct part parts[MAPPINGS_MAX];
};

static int prove_block(void *context, uintptr_t start, uint64_t size_bytes, int in_use) {
    struct copy *copy = context;
    uint64_t bytes, index = in_use ? kitsune__retired_find(copy->objects, start) : UINT64_MAX;
    if (index == UINT64_MAX)
        return 0;
    kitsune__retired_at(copy->objects, index, &bytes);
    if (bytes <= size_bytes && size_bytes - bytes < kitsune__blocks_slack(size_bytes))
        copy->scan->whole[index / 8] |= (uint8_t)(1u << index % 8);
    return 0;
}

/* Blocks that were mapped alone lie outside the heap. */
static void prove_mapped(struct copy *copy) {
    for (uint64_t i = 1; i < copy->scan->whole_count; i++) {
        uint64_t bytes, block;
        uintptr_t start = kitsune__retired_at(copy->objects, i, &bytes);
        if (!start || (start >= copy->heap.start && start < copy->heap.end) || start % 16 != 0)
            continue;
        block = start % PAGE == 16 ? kitsune__blocks_mapped_size(start) : 0;
        if (bytes <= block && block - bytes < kitsune__blocks_slack(block))
            copy->scan->whole[i / 8] |= (uint8_t)(1u << i % 8);
    }
}

/* What will go back to an allocator of the program's own lies somewhere in memory of it, and must not
 * look like a pointer into an old image: it is cleared here, in the copy. */
static void clear_returned(struct copy *copy) {
    for (uint64_t i = 1; i < copy->scan->whole_count; i++) {
        uint64_t bytes;
        uintptr_t start = kitsune__retired_at(copy->objects, i, &bytes);
        if (start && kitsune__retired_allocator(copy->objects, i))
            memset((void *)start, 0, bytes);
    }
}

static int ignore_block(void *context, uintptr_t start, uint64_t size_bytes, int in_use) {
    (void)context, (void)start, (void)size_bytes, (void)in_use;
    return 0;
}

static void prove_blocks(struct copy *copy) {
    if (!kitsune__blocks_known())
        return;
    kitsune__blocks_settle();
    if (kitsune__blocks_walk(ignore_block, copy) != 0) {
        copy->heap = (struct kitsune__range){0, 0};
        return;
    }
    copy->scan->blocks_proven = 1;
    if (!copy->objects)
        return;
    kitsune__blocks_walk(prove_block, copy);
    prove_mapped(copy);
}

static int is_noise(const struct kitsune__scan_image *image, uintptr_t value) {
    for (uint32_t i = 0; i < image->noise_count; i++)
        if (value >= image->noise[i].start && value < image->noise[i].end)
            return 1;
    return 0;
}

static void found(struct copy *copy, uintptr_t where, uintptr_t value) {
    for (uint32_t i = 0; i < copy->scan->image_count; i++) {
        struct kitsune__scan_image *image = &copy->scan->images[i];
        if (value < image->range.start || value >= image->range.end || is_noise(image, value))
            continue;
        if (image->words++ < KITSUNE__HOLDERS) {
            struct kitsune__scan_word *word = &image->first[image->words - 1];
            word->where = where;
            word->value = value;
            kitsune__format(word->place, sizeof word->place, "%s", copy->name);
        }
    }
}

/* The block of the heap in which a word was found. */
static int name_block(void *context, uintptr_t start, uint64_t size_bytes, int in_use) {
    struct copy *copy = context;
    for (uint32_t i = 0; in_use && i < copy->scan->image_count; i++)
        for (uint32_t j = 0; j < KITSUNE__HOLDERS; j++) {
            struct kitsune__scan_word *word = &copy->scan->images[i].first[j];
            if (word->where - start < size_bytes)
                kitsune__format(
                    word->place, sizeof word->place, "byte %lu of a heap block of %lu bytes at %p",
                    (unsigned long)(word->where - start), (unsigned long)size_bytes, (void *)start);
        }
    return 0;
}

static void look_at_words(struct copy *copy, uintptr_t start, uintptr_t end) {
    uintptr_t low = copy->hull.start, width = copy->hull.end - copy->hull.start;
    for (uintptr_t at = (start + 7) & ~7ul; at + 8 <= end; at += 8) {
        uintptr_t value = *(const uintptr_t *)at;
        if (__builtin_expect(value - low < width, 0))
            found(copy, at, value);
    }
}

/* Leaves out what is skipped. Few ranges fall into one mapping. */
static void look_around_skipped(struct copy *copy, uintptr_t start, uintptr_t end) {
    for (uint32_t i = 0; i < copy->scan->skipped_count; i++) {
        struct kitsune__range skipped = copy->scan->skipped[i];
        if (skipped.start >= end || skipped.end <= start)
            continue;
        if (skipped.start > start)
            look_around_skipped(copy, start, skipped.start);
        if (skipped.end >= end)
            return;
        start = skipped.end;
    }
    look_at_words(copy, start, end);
}

static void look_at_pages(void *context, uintptr_t start, uintptr_t end) {
    look_around_skipped(context, start, end);
}

static void look(struct copy *copy, uintptr_t start, uintptr_t end) {
    kitsune__pages_each(end - start > SMALL_BYTES ? copy->pages : -1, start, end, look_at_pages,
                        copy);
}

static void end_run(struct copy *copy) {
    if (copy->run_start)
        look(copy, copy->run_start, copy->run_end);
    copy->run_start = 0;
}

/* Free blocks hold stale words, and retired ones will be free. */
static int look_at_block(void *context, uintptr_t start, uint64_t size_bytes, int in_use) {
    struct copy *copy = context;
    uint64_t index =
        in_use && copy->objects ? kitsune__retired_find(copy->objects, start) : UINT64_MAX;
    if (!in_use || (index != UINT64_MAX && kitsune__scan_is_whole(copy->scan, index))) {
        end_run(copy);
        return 0;
    }
    if (!copy->run_start)
        copy->run_start = start;
    copy->run_end = start + size_bytes;
    return 0;
}

static int note_part(void *context, const struct kitsune__mapping *mapping) {
    struct copy *copy = context;
    int shared = mapping->permissions[3] == 's';
    if (mapping->permissions[0] != 'r' || mapping->permissions[1] != 'w')
        return 0;
    if (shared && strncmp(mapping->name, "/dev/zero", 9) != 0)
        return 0;
    if (copy->part_count == MAPPINGS_MAX)
        return 1;
    struct part *part = &copy->parts[copy->part_count++];
    part->range = (struct kitsune__range){mapping->start, mapping->end};
    const char *slash = strrchr(mapping->name, '/');
    kitsune__format(part->name, sizeof part->name, "%s",
                    *mapping->name ? (slash ? slash + 1 : mapping->name) : "mapped memory");
    return 0;
}

static void look_at_part(struct copy *copy, const struct part *part) {
    uintptr_t start = part->range.start, end = part->range.end;
    copy->name = part->name;
    if (copy->stack_low >= start && copy->stack_low < end) {
        copy->name = "the stack";
        start = copy->stack_low;
    }
    if (copy->heap.start && start >= copy->heap.start && start < copy->heap.end) {
        uintptr_t rest = end > copy->heap.end ? copy->heap.end : end;
        if (start == copy->heap.start) { /* one walk for all of its mappings */
            copy->name = "the heap";
            kitsune__blocks_walk(look_at_block, copy);
            end_run(copy);
        }
        start = rest;
    }
    if (start < end)
        look(copy, start, end);
}

/* The kernel's own pointers into the program. */
static void look_at_handlers(struct copy *copy) {
    char name[32];
    for (int signal = 1; signal <= SIGNALS; signal++) {
        uintptr_t action[4] = {0, 0, 0, 0}; /* the kernel's: handler first */
        if (KITSUNE__SYSCALL(SYS_rt_sigaction, signal, 0, action, 8) != 0)
            continue;
        kitsune__format(name, sizeof name, "handler of signal %d", signal);
        copy->name = name;
        if (action[0] - copy->hull.start < copy->hull.end - copy->hull.start)
            found(copy, 0, action[0]);
    }
}

static int has_found(const struct kitsune__scan *scan) {
    for (uint32_t i = 0; i < scan->image_count; i++)
        if (scan->images[i].words)
            return 1;
    return 0;
}

static void note_hull(struct copy *copy) {
    for (uint32_t i = 0; i < copy->scan->image_count; i++) {
        struct kitsune__range range = copy->scan->images[i].range;
        if (i == 0 || range.start < copy->hull.start)
            copy->hull.start = range.start;
        if (i == 0 || range.end > copy->hull.end)
            copy->hull.end = range.end;
    }
}

static void copy_main(struct kitsune__scan *scan, struct kitsune__retired *objects,
                      uintptr_t stack_low) {
    KITSUNE__SYSCALL(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    struct copy *copy =
        mmap(NULL, sizeof *copy, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (copy == MAP_FAILED)
        return;
    kitsune__scan_skip(scan, copy, copy + 1);
    kitsune__scan_skip(scan, scan, (char *)scan + scan->bytes);
    copy->scan = scan;
    copy->objects = objects;
    copy->stack_low = stack_low;
    note_hull(copy);
    copy->pages = kitsune__pages_open();
    int listed = kitsune__mappings(note_part, copy) == 0;
    kitsune__blocks_heap(&copy->heap.start, &copy->heap.end);
    prove_blocks(copy);
    clear_returned(copy);
    if (scan->image_count && listed) {
        for (uint32_t i = 0; i < copy->part_count; i++)
            look_at_part(copy, &copy->parts[i]);
        look_at_handlers(copy);
        if (copy->scan->blocks_proven && has_found(scan))
            kitsune__blocks_walk(name_block, copy);
    }
    scan->done = listed;
}
