#define _GNU_SOURCE
#include "load.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apart.h"
#include "check.h"
#include "log.h"
#include "platform.h"
#include "plugins.h"
#include "table.h"
#include "trust.h"

static struct kitsune__image *images; /* newest first */
static struct kitsune__image *current, *incoming;

struct kitsune__image *kitsune__image_current(void) {
    return current;
}

struct kitsune__image *kitsune__image_incoming(void) {
    return incoming;
}

struct kitsune__image *kitsune__images(void) {
    return images;
}

struct kitsune__image *kitsune__image_at(const void *address) {
    const uint8_t *at = address;
    for (struct kitsune__image *image = images; image != NULL; image = image->next)
        if (at >= image->start && at < image->end)
            return image;
    return NULL;
}

static void tell_image(uint32_t index, uint32_t count, const struct kitsune__image *image) {
    static struct kitsune__mapped told;
    const struct kitsune_identity *identity = image->release->identity;
    size_t length = strlen(image->path);
    memset(&told, 0, sizeof told);
    memcpy(told.version, identity->version, sizeof told.version);
    memcpy(told.build_id, image->build_id, sizeof told.build_id);
    if (length < sizeof told.path)
        memcpy(told.path, image->path, length);
    told.start = (uintptr_t)image->start;
    told.end = (uintptr_t)image->end;
    told.held = image->held;
    kitsune__request_image(index, count, &told);
    memset(&told, 0, sizeof told); /* or the scan would find in it where words were */
}

void kitsune__load_tell(void) {
    uint32_t count = 0, index = 0;
    for (const struct kitsune__image *image = images; image != NULL; image = image->next)
        count++;
    for (const struct kitsune__image *image = images; image != NULL; image = image->next)
        tell_image(index++, count, image);
}

void kitsune__image_forget(struct kitsune__image *image) {
    for (struct kitsune__image **link = &images; *link != NULL; link = &(*link)->next)
        if (*link == image) {
            *link = image->next;
            free(image->path);
            free(image);
            kitsune__load_tell();
            return;
        }
}

struct kitsune__running kitsune__image_names(const struct kitsune__image *image) {
    const struct kitsune_identity *identity = image->release->identity;
    struct kitsune__running names;
    memset(&names, 0, sizeof names);
    memcpy(names.program, identity->program, sizeof names.program);
    memcpy(names.version, identity->version, sizeof names.version);
    memcpy(names.build_id, image->build_id, sizeof names.build_id);
    kitsune__check_name_version(&names, identity);
    return names;
}

/* ---- what the dynamic linker knows of an image --------------------------------------------- */

static void read_notes(struct kitsune__image *image, const uint8_t *at, size_t size) {
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const void *)at;
        size_t name_size = (note->n_namesz + 3u) & ~3u;
        size_t note_size = sizeof *note + name_size + ((note->n_descsz + 3u) & ~3u);
        if (note_size > size)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_descsz == KITSUNE_BUILD_ID_SIZE) {
            memcpy(image->build_id, at + sizeof *note + name_size, KITSUNE_BUILD_ID_SIZE);
            image->has_build_id = 1;
        }
        at += note_size;
        size -= note_size;
    }
}

static int holds(const struct dl_phdr_info *info, uintptr_t address) {
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[index];
        uintptr_t start = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD && address >= start && address < start + header->p_memsz)
            return 1;
    }
    return 0;
}

/* Fills bounds and build-id of the image that contains its release structure. */
static int inspect(struct dl_phdr_info *info, size_t size, void *argument) {
    struct kitsune__image *image = argument;
    uintptr_t page = kitsune__page_size(), start = UINTPTR_MAX, end = 0;
    (void)size;
    if (!holds(info, (uintptr_t)image->release))
        return 0;
    for (int index = 0; index < info->dlpi_phnum; index++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[index];
        uintptr_t at = info->dlpi_addr + header->p_vaddr;
        if (header->p_type == PT_LOAD) {
            start = at < start ? at : start;
            end = at + header->p_memsz > end ? at + header->p_memsz : end;
            if (header->p_flags & PF_X) {
                image->code_start = (const uint8_t *)at;
                image->code_end = image->code_start + header->p_memsz;
            }
        } else if (header->p_type == PT_NOTE) {
            read_notes(image, (const uint8_t *)at, header->p_memsz);
        }
    }
    image->start = (const uint8_t *)(start / page * page);
    image->end = (const uint8_t *)((end + page - 1) / page * page);
    return 1;
}

/* ---- checks -------------------------------------------------------------------------------- */

static uint32_t check_interface(uint32_t abi, char *reason, size_t size) {
    if (abi == KITSUNE_ABI)
        return 0;
    snprintf(reason, size, "the release has interface %u, the launcher %u: %s", abi, KITSUNE_ABI,
             abi < KITSUNE_ABI ? "build the release again with this Kitsune"
                               : "install the Kitsune that the release was built with");
    return abi < KITSUNE_ABI ? KITSUNE__ABI_OLDER : KITSUNE__ABI_NEWER;
}

static uint32_t check_form(const struct kitsune_release *release, char *reason, size_t size) {
    uint32_t code = check_interface(release->abi, reason, size);
    if (code != 0)
        return code;
    if (release->size != sizeof *release || release->identity->magic != KITSUNE_MAGIC) {
        snprintf(reason, size, "the file's kitsune_release has another form than this interface's");
        return KITSUNE__NOT_A_RELEASE;
    }
    return 0;
}

static int is_parent(const struct kitsune_identity *identity, const struct kitsune__image *image) {
    struct kitsune__running names = kitsune__image_names(image);
    return image->has_build_id && kitsune__check_follows(identity, &names);
}

/* Whether the release may follow the running one. */
static uint32_t check_succession(const struct kitsune_release *release, char *reason, size_t size) {
    const struct kitsune_identity *new = release->identity, *old = current->release->identity;
    if (release == current->release) {
        snprintf(reason, size, "%s %s is what is running", new->program, new->version);
        return KITSUNE__WRONG_PARENT;
    }
    if (strcmp(new->program, old->program) != 0) {
        snprintf(reason, size, "the release is of '%s', but '%s' is running", new->program,
                 old->program);
        return KITSUNE__WRONG_PROGRAM;
    }
    if (release->plan == NULL) {
        snprintf(reason, size, "%s %s is a first release: nothing leads to it from %s",
                 new->program, new->version, old->version);
        return KITSUNE__NO_PLAN;
    }
    if (!is_parent(new, current)) {
        snprintf(reason, size, "%s %s was not built to follow this build of %s", new->program,
                 new->version, old->version);
        return KITSUNE__WRONG_PARENT;
    }
    if (release->plan->old_layout_digest != current->release->layout_digest) {
        snprintf(reason, size,
                 "%s %s was generated against other types than those of the running %s",
                 new->program, new->version, old->version);
        return KITSUNE__WRONG_LAYOUT;
    }
    return 0;
}

/* ---- loading ------------------------------------------------------------------------------- */

#define PROC "/proc/"
#define PROC_LENGTH (sizeof PROC - 1)

/* Opens an object by a path below /proc also where the program has no /proc, having changed its root:
 * the linker then gets a relative path. Constructors see /proc as working directory in that case. */
static void *open_object(const char *file, int flags) {
    int former = -1;
    if (strncmp(file, PROC, PROC_LENGTH) == 0 && access(file, R_OK) != 0)
        former = kitsune__enter_proc();
    void *handle = dlopen(former >= 0 ? file + PROC_LENGTH : file, flags);
    if (former >= 0)
        kitsune__leave_proc(former);
    return handle;
}

/* Debuggers and sanitizers read symbols from the file of this name. That of a copy's descriptor would be
 * a file of their own: gdb waits for ever if it is a pipe. libc frees the name with the object. */
static void name_object(void *handle, const char *path) {
    struct link_map *map;
    char *name;
    if (dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || strcmp(map->l_name, path) == 0 ||
        (name = strdup(path)) == NULL)
        return;
    free(map->l_name);
    map->l_name = name;
}

/* Opens the object and puts an image into the list. The caller checks more. */
static uint32_t open_image(const char *file, const char *path, struct kitsune__image **opened,
                           char *reason, size_t size) {
    kitsune__apart_begin();
    void *handle = open_object(file, RTLD_NOW | RTLD_LOCAL);
    kitsune__apart_end();
    if (handle == NULL) {
        snprintf(reason, size, "%s", dlerror());
        return KITSUNE__LOAD_FAILED;
    }
    const struct kitsune_release *release = dlsym(handle, "kitsune_release");
    if (release == NULL) {
        snprintf(reason, size, "%s has no symbol kitsune_release", path);
        return KITSUNE__NOT_A_RELEASE;
    }
    uint32_t code = check_form(release, reason, size);
    if (code != 0)
        return code;
    struct kitsune__image *image = calloc(1, sizeof *image);
    char *name = strdup(path);
    if (image == NULL || name == NULL) {
        snprintf(reason, size, "no memory to load the release");
        return KITSUNE__NO_MEMORY;
    }
    image->release = release;
    image->handle = handle;
    image->path = name;
    image->serial = images != NULL ? images->serial + 1 : 1;
    dl_iterate_phdr(inspect, image);
    if (kitsune__plugins_has_exports(image)) /* so that the linker finds them for plugins */
        open_object(file, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    name_object(handle, path);
    image->next = images;
    images = image;
    *opened = image;
    return 0;
}

/* Returns 0, or -1 if the gate cannot be shared. */
static int connect(const struct kitsune__image *image) {
    *image->release->launcher = kitsune__launcher_table();
    return kitsune__request_gate_add(image->release->gate);
}

/* Loads a checked copy of the release, as updates do. */
static uint32_t open_checked(const char *path, struct kitsune__image **opened, char *reason,
                             size_t size) {
    struct kitsune__problem problem;
    struct kitsune__running release;
    char load_path[128];
    int copy;
    if (kitsune__check_release(path, geteuid(), NULL, &release, &copy, &problem) !=
        KITSUNE__RELEASE_ACCEPTED) {
        snprintf(reason, size, "%s", problem.text);
        return problem.code;
    }
    kitsune__check_load_path(copy, load_path, sizeof load_path);
    uint32_t code = open_image(load_path, path, opened, reason, size);
    close(copy);
    return code;
}

uint32_t kitsune__load_first(const char *path, char *reason, size_t reason_size) {
    struct kitsune__image *image;
    char *absolute = realpath(path, NULL);
    if (absolute == NULL) {
        snprintf(reason, reason_size, "%s: %m", path);
        return KITSUNE__NO_FILE;
    }
    uint32_t code = kitsune__trust_is_asked()
                        ? open_checked(absolute, &image, reason, reason_size)
                        : open_image(absolute, absolute, &image, reason, reason_size);
    free(absolute);
    if (code != 0)
        return code;
    current = image;
    if (connect(image) != 0)
        kitsune__log("requests do not reach the program: its gate cannot be shared: %m");
    return 0;
}

uint32_t kitsune__load_next(const char *file, const char *path, char *reason, size_t reason_size) {
    struct kitsune__image *image;
    uint32_t code = open_image(file, path, &image, reason, reason_size);
    if (code == 0)
        code = check_succession(image->release, reason, reason_size);
    if (code != 0)
        return code;
    if (connect(image) != 0) {
        snprintf(reason, reason_size, "the release's gate cannot be shared: %m");
        return KITSUNE__NO_MEMORY;
    }
    incoming = image;
    return 0;
}

void kitsune__load_commit(void) {
    kitsune__request_gate_remove(
        current->release->gate); /* its update points are never called again */
    current = incoming;
    incoming = NULL;
    kitsune__load_tell();
}

/* ---- naming a place in a file --------------------------------------------------------------- */

/* "main+0x1f"; a long name is cut. */
static void put_name(struct kitsune__frame *frame, const char *name, size_t limit,
                     uint64_t distance) {
    size_t size = sizeof frame->function, room = size - sizeof "+0x0123456789abcdef";
    size_t length = strnlen(name, limit < room ? limit : room);
    memcpy(frame->function, name, length);
    kitsune__format(frame->function + length, size - length, "+0x%lx", (unsigned long)distance);
}

/* A table of symbols in a mapped file, within whose bounds it was found to lie. */
struct symbols {
    const ElfW(Sym) * first;
    size_t count;
    const char *names;
    size_t names_size;
};

static int read_symbols(const uint8_t *file, size_t size, struct symbols *symbols) {
    const ElfW(Ehdr) *header = (const void *)file;
    const ElfW(Shdr) *sections = (const void *)(file + header->e_shoff);
    if (header->e_shoff > size || (size - header->e_shoff) / sizeof *sections < header->e_shnum)
        return 0;
    for (int index = 0; index < header->e_shnum; index++) {
        const ElfW(Shdr) *table = &sections[index];
        if (table->sh_type != SHT_SYMTAB || table->sh_link >= header->e_shnum ||
            table->sh_offset > size || table->sh_size > size - table->sh_offset)
            continue;
        const ElfW(Shdr) *names = &sections[table->sh_link];
        if (names->sh_offset > size || names->sh_size > size - names->sh_offset)
            continue;
        *symbols = (struct symbols){(const void *)(file + table->sh_offset),
                                    table->sh_size / sizeof *symbols->first,
                                    (const char *)file + names->sh_offset, names->sh_size};
        return 1;
    }
    return 0;
}

static const ElfW(Sym) * function_around(const struct symbols *symbols, uint64_t address) {
    for (size_t i = 0; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->first[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && address >= symbol->st_value &&
            address - symbol->st_value < symbol->st_size && symbol->st_name < symbols->names_size)
            return symbol;
    }
    return NULL;
}

/* Where the function is entered: compilers put rare parts of one elsewhere, as "main.cold". */
static uint64_t entry_of(const struct symbols *symbols, const ElfW(Sym) * part) {
    static const char rare[] = ".cold";
    const char *name = symbols->names + part->st_name;
    size_t length = strnlen(name, symbols->names_size - part->st_name);
    if (length < sizeof rare || memcmp(name + length - (sizeof rare - 1), rare, sizeof rare - 1))
        return part->st_value;
    length -= sizeof rare - 1;
    for (size_t i = 0; i < symbols->count; i++) {
        const ElfW(Sym) *symbol = &symbols->first[i];
        if (ELF64_ST_TYPE(symbol->st_info) == STT_FUNC && symbol->st_name < symbols->names_size &&
            symbols->names_size - symbol->st_name > length &&
            memcmp(symbols->names + symbol->st_name, name, length) == 0 &&
            symbols->names[symbol->st_name + length] == '\0')
            return symbol->st_value;
    }
    return part->st_value;
}

/* The virtual address that the file's offset is loaded at, or UINT64_MAX. */
static uint64_t virtual_address(const uint8_t *file, size_t size, uint64_t offset) {
    const ElfW(Ehdr) *header = (const void *)file;
    const ElfW(Phdr) *segments = (const void *)(file + header->e_phoff);
    if (header->e_phoff > size || (size - header->e_phoff) / sizeof *segments < header->e_phnum)
        return UINT64_MAX;
    for (int index = 0; index < header->e_phnum; index++)
        if (segments[index].p_type == PT_LOAD && offset >= segments[index].p_offset &&
            offset - segments[index].p_offset < segments[index].p_filesz)
            return segments[index].p_vaddr + (offset - segments[index].p_offset);
    return UINT64_MAX;
}

static int is_object(const uint8_t *file, size_t size) {
    return size >= sizeof(ElfW(Ehdr)) && memcmp(file, ELFMAG, SELFMAG) == 0 &&
           file[EI_CLASS] == ELFCLASS64;
}

uint64_t kitsune__load_address_at(const uint8_t *file, size_t size, uint64_t offset) {
    return is_object(file, size) ? virtual_address(file, size, offset) : UINT64_MAX;
}

void kitsune__load_name_frame(const uint8_t *file, size_t size, struct kitsune__frame *frame) {
    struct symbols symbols;
    if (!is_object(file, size) || !read_symbols(file, size, &symbols))
        return;
    const ElfW(Sym) *found = function_around(&symbols, frame->offset);
    if (found == NULL)
        return;
    put_name(frame, symbols.names + found->st_name, symbols.names_size - found->st_name,
             frame->offset - found->st_value);
    frame->start = entry_of(&symbols, found);
}

void kitsune__load_name_frame_in(const struct kitsune__image *image, struct kitsune__frame *frame) {
    struct stat status;
    int file = open(image->path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return;
    if (fstat(file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0) {
        size_t size = (size_t)status.st_size;
        void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);
        if (bytes != MAP_FAILED) {
            /* Another build may lie there by now. */
            if (image->has_build_id &&
                memmem(bytes, size, image->build_id, sizeof image->build_id) != NULL)
                kitsune__load_name_frame(bytes, size, frame);
            munmap(bytes, size);
        }
    }
    close(file);
}
