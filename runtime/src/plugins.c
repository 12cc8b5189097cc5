/* Plugins bound to a version, and their way to the next one (plugins.h). */
#define _GNU_SOURCE
#include "plugins.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "platform.h"

#define OBJECTS_MAX 512
#define OWN_EXPORT "kitsune_release"

/* What the dynamic section of a loaded object says. */
struct dynamic {
    ElfW(Addr) base;
    const ElfW(Sym) * symbols;
    const char *names;
    const uint32_t *hash; /* DT_GNU_HASH */
    const ElfW(Rela) * tables[2];
    size_t counts[2];
};

/* A loaded object that is no release. */
struct object {
    ElfW(Addr) base;
    const ElfW(Phdr) * headers;
    int header_count;
    const char *path;
};

struct objects {
    struct object list[OBJECTS_MAX];
    size_t count, seen;
};

/* One call of kitsune__plugins_follow. */
struct step {
    const struct kitsune__image *old, *new;
    kitsune__plugins_successor *successor;
    struct dynamic exports[2]; /* of both */
    int is_last;
    char *reason;
    size_t size;
};

static int is_in(const struct kitsune__image *image, ElfW(Addr) address) {
    return address >= (ElfW(Addr))image->start && address < (ElfW(Addr))image->end;
}

/* ---- reading an object ----------------------------------------------------------------------- */

/* glibc has added the base to addresses in most dynamic sections, but not in those it cannot write. */
static ElfW(Addr) absolute(ElfW(Addr) base, ElfW(Addr) address) {
    return address < base ? base + address : address;
}

static void read_dynamic(ElfW(Addr) base, const ElfW(Dyn) * entry, struct dynamic *dynamic) {
    *dynamic = (struct dynamic){.base = base};
    for (; entry->d_tag != DT_NULL; entry++) {
        ElfW(Addr) at = absolute(base, entry->d_un.d_ptr);
        switch (entry->d_tag) {
        case DT_SYMTAB:
            dynamic->symbols = (const void *)at;
            break;
        case DT_STRTAB:
            dynamic->names = (const void *)at;
            break;
        case DT_GNU_HASH:
            dynamic->hash = (const void *)at;
            break;
        case DT_RELA:
            dynamic->tables[0] = (const void *)at;
            break;
        case DT_JMPREL:
            dynamic->tables[1] = (const void *)at;
            break;
        case DT_RELASZ:
            dynamic->counts[0] = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        case DT_PLTRELSZ:
            dynamic->counts[1] = entry->d_un.d_val / sizeof(ElfW(Rela));
            break;
        default:
            break;
        }
    }
}

/* The symbols that an object defines for others: [*first, end of the table). */
static uint32_t exported_end(const struct dynamic *dynamic, uint32_t *first) {
    const uint32_t *hash = dynamic->hash;
    if (hash == NULL || dynamic->symbols == NULL || dynamic->names == NULL)
        return *first = 0;
    uint32_t bucket_count = hash[0], bloom_words = hash[2], last = 0;
    const uint32_t *buckets = hash + 4 + bloom_words * (sizeof(ElfW(Addr)) / 4);
    const uint32_t *chains = buckets + bucket_count;
    *first = hash[1];
    for (uint32_t index = 0; index < bucket_count; index++)
        last = buckets[index] > last ? buckets[index] : last;
    if (last < *first)
        return *first;
    while (!(chains[last - *first] & 1))
        last++;
    return last + 1;
}

static void read_image(const struct kitsune__image *image, struct dynamic *dynamic) {
    const struct link_map *map = image->handle;
    read_dynamic(map->l_addr, map->l_ld, dynamic);
}

int kitsune__plugins_has_exports(const struct kitsune__image *image) {
    struct dynamic dynamic;
    uint32_t first, end;
    read_image(image, &dynamic);
    end = exported_end(&dynamic, &first);
    for (uint32_t index = first; index < end; index++)
        if (strcmp(dynamic.names + dynamic.symbols[index].st_name, OWN_EXPORT) != 0)
            return 1;
    return 0;
}

static int note_object(struct dl_phdr_info *info, size_t size, void *argument) {
    struct objects *objects = argument;
    (void)size;
    int is_program = objects->seen++ == 0; /* the launcher */
    if (is_program || info->dlpi_phnum == 0 || objects->count == OBJECTS_MAX ||
        kitsune__image_at((const void *)(info->dlpi_addr + info->dlpi_phdr[0].p_vaddr)) != NULL)
        return 0;
    objects->list[objects->count++] =
        (struct object){info->dlpi_addr, info->dlpi_phdr, info->dlpi_phnum, info->dlpi_name};
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The protection of the segment that an address lies in: relocated data may be read-only. */
static int write_word(uintptr_t *place, uintptr_t value, int is_read_only) {
    uintptr_t page = kitsune__page_size(), start = (uintptr_t)place / page * page;
    size_t length = (uintptr_t)(place + 1) - start;
    if (is_read_only && mprotect((void *)start, length, PROT_READ | PROT_WRITE) != 0)
        return -1;
    *place = value;
    if (is_read_only)
        mprotect((void *)start, length, PROT_READ);
    return 0;
}

static int is_writable(const struct object *object, ElfW(Addr) address) {
    int writable = 0;
    for (int index = 0; index < object->header_count; index++) {
        const ElfW(Phdr) *header = &object->headers[index];
        ElfW(Addr) start = object->base + header->p_vaddr;
        if (address < start || address >= start + header->p_memsz)
            continue;
        if (header->p_type == PT_GNU_RELRO)
            return 0;
        if (header->p_type == PT_LOAD && (header->p_flags & PF_W))
            writable = 1;
    }
    return writable;
}

/* Takes the exports of the old image out of the linker's sight: a symbol without a value is none. */
static uint32_t blank_exports(const struct step *step) {
    const struct dynamic *dynamic = &step->exports[0];
    uint32_t first, end = exported_end(dynamic, &first);
    uintptr_t page = kitsune__page_size();
    ElfW(Sym) *symbols = (ElfW(Sym) *)dynamic->symbols;
    uintptr_t start = (uintptr_t)&symbols[first] / page * page;
    size_t length = (uintptr_t)&symbols[end] - start;
    if (mprotect((void *)start, length, PROT_READ | PROT_WRITE) != 0) {
        snprintf(step->reason, step->size, "the exports of the old version cannot be hidden: %m");
        return KITSUNE__NO_MEMORY;
    }
    for (uint32_t index = first; index < end; index++)
        if (strcmp(dynamic->names + symbols[index].st_name, OWN_EXPORT) != 0)
            symbols[index].st_value = 0;
    mprotect((void *)start, length, PROT_READ);
    return 0;
}

/* ---- what the linker bound ------------------------------------------------------------------- */

static uint32_t refuse(const struct step *step, const struct object *object, const char *name,
                       const char *why) {
    snprintf(step->reason, step->size, "the plugin %s uses '%s', which %s %s", object->path, name,
             step->new->release->identity->version, why);
    return KITSUNE__PLUGIN;
}

/* What an image exports by that name; a blanked one too, without its value. */
static const ElfW(Sym) * export_named(const struct dynamic *dynamic, const char *name) {
    uint32_t first, end = exported_end(dynamic, &first);
    for (uint32_t index = first; index < end; index++)
        if (strcmp(dynamic->names + dynamic->symbols[index].st_name, name) == 0)
            return &dynamic->symbols[index];
    return NULL;
}

static int is_of_thread(uint32_t type) {
    return type == R_X86_64_DTPMOD64 || type == R_X86_64_TPOFF64 || type == R_X86_64_TLSDESC;
}

static int is_of_address(uint32_t type) {
    return type == R_X86_64_64 || type == R_X86_64_GLOB_DAT || type == R_X86_64_JUMP_SLOT;
}

static uint32_t follow_relocation(const struct step *step, const struct object *object,
                                  const struct dynamic *dynamic, const ElfW(Rela) * relocation) {
    uint32_t type = ELF64_R_TYPE(relocation->r_info);
    const ElfW(Sym) *user = &dynamic->symbols[ELF64_R_SYM(relocation->r_info)];
    const char *name = dynamic->names + user->st_name;
    uintptr_t *place = (uintptr_t *)(dynamic->base + relocation->r_offset);
    int is_bound = user->st_shndx == SHN_UNDEF && is_of_thread(type);
    if (!is_bound && !(is_of_address(type) && is_in(step->old, *place)))
        return 0;
    const ElfW(Sym) *old = export_named(&step->exports[0], name);
    const ElfW(Sym) *new = export_named(&step->exports[1], name);
    if (is_of_thread(type))
        return old == NULL ? 0 : refuse(step, object, name, "cannot give it: it is thread-local");
    if (new == NULL)
        return refuse(step, object, name, "does not export");
    if (old != NULL && ELF64_ST_TYPE(old->st_info) == STT_OBJECT && old->st_size != new->st_size)
        return refuse(step, object, name, "has in another size");
    uintptr_t value = step->exports[1].base + new->st_value;
    value += type == R_X86_64_64 ? (uintptr_t)relocation->r_addend : 0;
    if (write_word(place, value, !is_writable(object, (ElfW(Addr))place)) == 0)
        return 0;
    snprintf(step->reason, step->size, "the plugin %s cannot be bound anew: %m", object->path);
    return KITSUNE__NO_MEMORY;
}

/* *bound: whether anything in the object was or is bound to one of the two versions. */
static uint32_t follow_relocations(const struct step *step, const struct object *object,
                                   const struct dynamic *dynamic, int *bound) {
    for (int table = 0; table < 2; table++)
        for (size_t index = 0; index < dynamic->counts[table]; index++) {
            const ElfW(Rela) *relocation = &dynamic->tables[table][index];
            if (ELF64_R_SYM(relocation->r_info) == 0)
                continue;
            uint32_t code = follow_relocation(step, object, dynamic, relocation);
            if (code != 0)
                return code;
            *bound |= is_in(step->new, *(uintptr_t *)(dynamic->base + relocation->r_offset));
        }
    return 0;
}

/* ---- what it keeps in its static data -------------------------------------------------------- */

/* Constants of the old version stay: as long as something leads to them its image is kept. */
static int is_constant(const struct kitsune__image *image, uintptr_t address) {
    const struct kitsune_release *release = image->release;
    const uint8_t *at = (const uint8_t *)address;
    for (const struct kitsune_symbol *symbol = release->symbols; symbol != release->symbols_end;
         symbol++)
        if (symbol->key != NULL && !(symbol->flags & KITSUNE_SYMBOL_CONST) &&
            at >= (const uint8_t *)symbol->address &&
            (uint64_t)(at - (const uint8_t *)symbol->address) < symbol->size)
            return 0;
    return at < image->code_start || at >= image->code_end;
}

static uint32_t follow_word(const struct step *step, const struct object *object,
                            uintptr_t *place) {
    const void *next = step->successor((const void *)*place);
    if (next != NULL) {
        *place = (uintptr_t)next;
        return 0;
    }
    if (!step->is_last || is_constant(step->old, *place))
        return 0;
    snprintf(
        step->reason, step->size,
        "the plugin %s keeps, at byte 0x%lx of its image, the address %p of the old version, for "
        "which version %s has nothing",
        object->path, (unsigned long)((uintptr_t)place - object->base), (void *)*place,
        step->new->release->identity->version);
    return KITSUNE__PLUGIN;
}

static uint32_t follow_data(const struct step *step, const struct object *object) {
    for (int index = 0; index < object->header_count; index++) {
        const ElfW(Phdr) *header = &object->headers[index];
        if (header->p_type != PT_LOAD || !(header->p_flags & PF_W))
            continue;
        uintptr_t start = (object->base + header->p_vaddr + 7) & ~(uintptr_t)7;
        uintptr_t end = (object->base + header->p_vaddr + header->p_memsz) & ~(uintptr_t)7;
        for (uintptr_t at = start; at < end; at += sizeof(uintptr_t)) {
            uintptr_t *place = (uintptr_t *)at;
            uint32_t code = 0;
            if (is_in(step->old, *place) && is_writable(object, at))
                code = follow_word(step, object, place);
            if (code != 0)
                return code;
        }
    }
    return 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static uint32_t follow_object(const struct step *step, const struct object *object) {
    struct dynamic dynamic;
    int bound = 0;
    for (int index = 0; index < object->header_count; index++) {
        if (object->headers[index].p_type != PT_DYNAMIC)
            continue;
        read_dynamic(object->base, (const void *)(object->base + object->headers[index].p_vaddr),
                     &dynamic);
        if (dynamic.symbols == NULL || dynamic.names == NULL)
            return 0;
        uint32_t code = follow_relocations(step, object, &dynamic, &bound);
        return code == 0 && bound ? follow_data(step, object) : code;
    }
    return 0;
}

uint32_t kitsune__plugins_follow(const struct kitsune__image *old, const struct kitsune__image *new,
                                 kitsune__plugins_successor *successor, int is_last, char *reason,
                                 size_t size) {
    struct step step = {old, new, successor, {{0}, {0}}, is_last, reason, size};
    if (!kitsune__plugins_has_exports(old))
        return 0;
    read_image(old, &step.exports[0]);
    read_image(new, &step.exports[1]);
    struct objects *objects = calloc(1, sizeof *objects);
    if (objects == NULL) {
        snprintf(reason, size, "no memory to look through the plugins");
        return KITSUNE__NO_MEMORY;
    }
    dl_iterate_phdr(note_object, objects);
    uint32_t code = is_last ? 0 : blank_exports(&step);
    for (size_t index = 0; code == 0 && index < objects->count; index++)
        code = follow_object(&step, &objects->list[index]);
    free(objects);
    return code;
}
