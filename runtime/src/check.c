#define _GNU_SOURCE
#include "check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"
#include "machine.h"
#include "platform.h"
#include "safe_file.h"
#include "trust.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010u
#endif

/* Fills the problem. */
#define REFUSE(...) (kitsune__refuse(__VA_ARGS__), KITSUNE__RELEASE_REFUSED)

/* ---- the bytes ----------------------------------------------------------------------------- */

struct image {
    const unsigned char *bytes;
    uint64_t size;
};

/* Non-zero if [offset, offset + length) lies inside the image; no sum can wrap. */
static int holds(const struct image *image, uint64_t offset, uint64_t length) {
    return offset <= image->size && length <= image->size - offset;
}

/* Copies `length` bytes, which need not be aligned in the file, or returns 0. */
static int fetch(const struct image *image, uint64_t offset, void *to, uint64_t length) {
    if (!holds(image, offset, length))
        return 0;
    memcpy(to, image->bytes + offset, length);
    return 1;
}

static int is_of_other_machine(const Elf64_Ehdr *header) {
    return memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 && header->e_type == ET_DYN &&
           header->e_machine != KITSUNE__ELF_MACHINE;
}

static int is_shared_object(const struct image *image, Elf64_Ehdr *header) {
    return fetch(image, 0, header, sizeof *header) &&
           memcmp(header->e_ident, ELFMAG, SELFMAG) == 0 &&
           header->e_ident[EI_CLASS] == ELFCLASS64 && header->e_ident[EI_DATA] == ELFDATA2LSB &&
           header->e_ident[EI_VERSION] == EV_CURRENT && header->e_type == ET_DYN &&
           header->e_machine == KITSUNE__ELF_MACHINE && header->e_phentsize == sizeof(Elf64_Phdr) &&
           header->e_phnum > 0 && header->e_phnum < PN_XNUM;
}

/* The note of the build-id in [offset, offset + length); returns 0 if it is not there. */
static int find_build_id(const struct image *image, uint64_t offset, uint64_t length, uint8_t *id) {
    uint64_t end = offset + length;
    Elf64_Nhdr note;

    while (end - offset >= sizeof note && fetch(image, offset, &note, sizeof note)) {
        uint64_t name = offset + sizeof note;
        uint64_t data = name + (((uint64_t)note.n_namesz + 3) & ~3ull);
        uint64_t next = data + (((uint64_t)note.n_descsz + 3) & ~3ull);

        if (next > end)
            return 0;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            note.n_descsz == KITSUNE_BUILD_ID_SIZE && memcmp(image->bytes + name, "GNU", 4) == 0)
            return fetch(image, data, id, KITSUNE_BUILD_ID_SIZE);
        offset = next;
    }
    return 0;
}

/* Looks at each segment: what is to be mapped must be there (else loading ends in SIGBUS), and one of
 * the notes is the build-id. Returns NULL, or what is wrong. */
static const char *check_segments(const struct image *image, const Elf64_Ehdr *header,
                                  uint8_t *id) {
    int has_id = 0;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;

        if (header->e_phoff > image->size ||
            !fetch(image, header->e_phoff + (uint64_t)i * sizeof segment, &segment, sizeof segment))
            return "its program headers lie outside the file";
        if (segment.p_type != PT_LOAD && segment.p_type != PT_NOTE)
            continue;
        if (!holds(image, segment.p_offset, segment.p_filesz))
            return "a segment lies outside the file (is it cut off?)";
        if (segment.p_type == PT_NOTE && !has_id)
            has_id = find_build_id(image, segment.p_offset, segment.p_filesz, id);
    }
    return has_id ? NULL : "it has no build-id of 20 bytes (link with --build-id)";
}

static int section_has_name(const struct image *image, const Elf64_Shdr *names, uint32_t name,
                            const char *wanted) {
    uint64_t length = strlen(wanted) + 1;

    return name < names->sh_size && length <= names->sh_size - name &&
           holds(image, names->sh_offset, names->sh_size) &&
           memcmp(image->bytes + names->sh_offset + name, wanted, length) == 0;
}

/* Reads section header `index`; returns 0 if it lies outside the file. */
static int fetch_section(const struct image *image, const Elf64_Ehdr *header, unsigned index,
                         Elf64_Shdr *section) {
    return header->e_shoff <= image->size &&
           fetch(image, header->e_shoff + (uint64_t)index * sizeof *section, section,
                 sizeof *section);
}

/* Finds the section with the identity; returns 0 if there is none that can be read. */
static int find_identity(const struct image *image, const Elf64_Ehdr *header, Elf64_Shdr *found) {
    Elf64_Shdr names;

    if (header->e_shentsize != sizeof names || header->e_shstrndx >= header->e_shnum ||
        !fetch_section(image, header, header->e_shstrndx, &names))
        return 0;
    for (unsigned i = 0; i < header->e_shnum; i++) {
        if (!fetch_section(image, header, i, found))
            return 0;
        if (found->sh_type == SHT_PROGBITS &&
            section_has_name(image, &names, found->sh_name, KITSUNE_IDENTITY_SECTION))
            return holds(image, found->sh_offset, found->sh_size);
    }
    return 0;
}

static int is_text(const char *text, size_t size) {
    return text[0] != '\0' && memchr(text, '\0', size) != NULL;
}

/* ---- the identity -------------------------------------------------------------------------- */

/* Reads magic and interface first: the rest of the structure depends on them. */
static enum kitsune__acceptance read_identity(const struct image *image, const Elf64_Shdr *section,
                                              struct kitsune_identity *identity,
                                              struct kitsune__problem *problem) {
    uint64_t prefix = offsetof(struct kitsune_identity, program);

    if (section->sh_size < prefix || !fetch(image, section->sh_offset, identity, prefix) ||
        identity->magic != KITSUNE_MAGIC)
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                      "not a release: its section kitsune_identity is damaged");
    if (identity->abi < KITSUNE_ABI)
        return REFUSE(problem, KITSUNE__ABI_OLDER,
                      "the release was built for interface %u, older than the launcher's %u; "
                      "build it again with the installed kitsune",
                      identity->abi, KITSUNE_ABI);
    if (identity->abi > KITSUNE_ABI)
        return REFUSE(problem, KITSUNE__ABI_NEWER,
                      "the release was built for interface %u, newer than the launcher's %u; "
                      "install that kitsune and start the program with its launcher",
                      identity->abi, KITSUNE_ABI);
    if (identity->size != sizeof *identity || section->sh_size < sizeof *identity ||
        !fetch(image, section->sh_offset, identity, sizeof *identity) ||
        !is_text(identity->program, sizeof identity->program) ||
        !is_text(identity->version, sizeof identity->version) ||
        identity->parent_count > sizeof identity->parents / sizeof identity->parents[0])
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                      "not a release: its section kitsune_identity is damaged");
    return KITSUNE__RELEASE_ACCEPTED;
}

static int is_same_id(const uint8_t *one, const uint8_t *other) {
    return memcmp(one, other, KITSUNE_BUILD_ID_SIZE) == 0;
}

int kitsune__check_follows(const struct kitsune_identity *identity,
                           const struct kitsune__running *running) {
    for (uint32_t i = 0; i < identity->parent_count && i < 16; i++)
        if (is_same_id(identity->parents[i], running->build_id) ||
            is_same_id(identity->parents[i], running->version_id))
            return 1;
    return 0;
}

void kitsune__check_name_version(struct kitsune__running *release,
                                 const struct kitsune_identity *identity) {
    static const uint8_t none[KITSUNE_BUILD_ID_SIZE];
    int is_own = is_same_id(identity->stands_for, none);

    memcpy(release->version_id, is_own ? release->build_id : identity->stands_for,
           sizeof release->version_id);
}

static enum kitsune__acceptance compare_with_running(const struct kitsune_identity *identity,
                                                     const struct kitsune__running *running,
                                                     const struct kitsune__running *release,
                                                     struct kitsune__problem *problem) {
    if (strcmp(release->program, running->program) != 0)
        return REFUSE(problem, KITSUNE__WRONG_PROGRAM,
                      "the release is of program '%s'; '%s' is running", release->program,
                      running->program);
    if (is_same_id(release->version_id, running->version_id))
        return KITSUNE__RELEASE_IS_RUNNING;
    if (!kitsune__check_follows(identity, running))
        return REFUSE(problem, KITSUNE__WRONG_PARENT,
                      "version %s does not follow what is running: it was built against other "
                      "releases than this build of version %s",
                      release->version, running->version);
    return KITSUNE__RELEASE_ACCEPTED;
}

/* Of a release that fits in all else; `identity` is what was read at that offset. */
static enum kitsune__acceptance check_sum(const struct image *image, uint64_t offset,
                                          const struct kitsune_identity *identity,
                                          struct kitsune__problem *problem) {
    uint32_t sum = kitsune__checksum(image->bytes, image->size, offset);

    if (sum == identity->checksum)
        return KITSUNE__RELEASE_ACCEPTED;
    return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                  "the release was changed after it was built, or is damaged: its checksum is %x, "
                  "and was %x",
                  sum, identity->checksum);
}

enum kitsune__acceptance kitsune__check_image(const void *bytes, size_t size,
                                              const struct kitsune__running *running,
                                              struct kitsune__running *release,
                                              struct kitsune__problem *problem) {
    enum kitsune__acceptance acceptance = KITSUNE__RELEASE_ACCEPTED;
    struct image image = {bytes, size};
    struct kitsune_identity identity;
    Elf64_Ehdr header;
    Elf64_Shdr section;
    const char *wrong;

    if (fetch(&image, 0, &header, sizeof header) && is_of_other_machine(&header))
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                      "not a release for this machine: it is for %s",
                      header.e_machine == EM_X86_64    ? "x86-64"
                      : header.e_machine == EM_AARCH64 ? "AArch64"
                                                       : "another one");
    if (!is_shared_object(&image, &header))
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                      "not a release: no shared object of this machine");
    wrong = check_segments(&image, &header, release->build_id);
    if (wrong)
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE, "not a release: %s", wrong);
    if (!find_identity(&image, &header, &section))
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE,
                      "not a release: it has no section kitsune_identity");
    if (read_identity(&image, &section, &identity, problem) != KITSUNE__RELEASE_ACCEPTED)
        return KITSUNE__RELEASE_REFUSED;
    memcpy(release->program, identity.program, sizeof release->program);
    memcpy(release->version, identity.version, sizeof release->version);
    kitsune__check_name_version(release, &identity);
    if (running)
        acceptance = compare_with_running(&identity, running, release, problem);
    if (acceptance == KITSUNE__RELEASE_REFUSED ||
        check_sum(&image, section.sh_offset, &identity, problem) != KITSUNE__RELEASE_ACCEPTED)
        return KITSUNE__RELEASE_REFUSED;
    return acceptance;
}

/* ---- the file ------------------------------------------------------------------------------ */

static int make_memory_file(void) {
    int copy = memfd_create("kitsune-release", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC);

    if (copy < 0 && errno == EINVAL) /* before Linux 6.3 all are executable */
        copy = memfd_create("kitsune-release", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return copy;
}

/* Copies what the file holds, at most the limit; returns 0, or -1 with errno. */
static int copy_all(int to, int from) {
    long long left = KITSUNE__RELEASE_SIZE_LIMIT;

    while (left > 0) {
        ssize_t done = sendfile(to, from, NULL, left < (1 << 20) ? (size_t)left : 1u << 20);

        if (done == 0)
            return 0;
        if (done < 0 && errno != EINTR)
            return -1;
        if (done > 0)
            left -= done;
    }
    errno = EFBIG;
    return -1;
}

/* Returns a sealed copy of `file`, or -1 with errno. */
static int copy_privately(int file) {
    int copy = make_memory_file();

    if (copy < 0)
        return -1;
    if (copy_all(copy, file) == 0 &&
        fcntl(copy, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        return copy;
    int saved = errno;
    close(copy);
    errno = saved;
    return -1;
}

static enum kitsune__acceptance check_copy(const char *path, uid_t owner, int copy,
                                           const struct kitsune__running *running,
                                           struct kitsune__running *release,
                                           struct kitsune__problem *problem) {
    struct stat status;
    enum kitsune__acceptance acceptance;
    void *bytes;

    if (fstat(copy, &status) < 0)
        return REFUSE(problem, KITSUNE__NO_FILE, "the release's copy cannot be read: %s",
                      strerrordesc_np(errno));
    if (status.st_size == 0)
        return REFUSE(problem, KITSUNE__NOT_A_RELEASE, "not a release: the file is empty");
    bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, copy, 0);
    if (bytes == MAP_FAILED)
        return REFUSE(problem, KITSUNE__NO_FILE, "the release's copy cannot be read: %s",
                      strerrordesc_np(errno));
    acceptance = KITSUNE__RELEASE_REFUSED;
    if (kitsune__trust_check_signature(path, owner, bytes, (size_t)status.st_size, problem) == 0)
        acceptance = kitsune__check_image(bytes, (size_t)status.st_size, running, release, problem);
    if (acceptance == KITSUNE__RELEASE_ACCEPTED &&
        kitsune__trust_check_revocations(release, owner, problem) < 0)
        acceptance = KITSUNE__RELEASE_REFUSED;
    munmap(bytes, (size_t)status.st_size);
    return acceptance;
}

enum kitsune__acceptance kitsune__check_release(const char *path, uid_t owner,
                                                const struct kitsune__running *running,
                                                struct kitsune__running *release, int *fd,
                                                struct kitsune__problem *problem) {
    enum kitsune__acceptance acceptance;
    int file =
        kitsune__open_safely(path, "the release", owner, KITSUNE__RELEASE_SIZE_LIMIT, problem);
    int copy;

    *fd = -1;
    if (file < 0)
        return KITSUNE__RELEASE_REFUSED;
    copy = copy_privately(file);
    if (copy < 0)
        kitsune__refuse(problem, KITSUNE__NO_FILE, "the release cannot be copied: %s",
                        strerrordesc_np(errno));
    close(file);
    if (copy < 0)
        return KITSUNE__RELEASE_REFUSED;
    acceptance = check_copy(path, owner, copy, running, release, problem);
    if (acceptance == KITSUNE__RELEASE_ACCEPTED)
        *fd = copy;
    else
        close(copy);
    return acceptance;
}

void kitsune__check_load_path(int fd, char *path, size_t path_size) {
    static unsigned loads;
    char number[sizeof(unsigned) * 8 * 3 + 1], *at = number;

    /* The count of loads, written in steps that lead nowhere: "./" is 1 and "/" is 0. */
    for (unsigned rest = ++loads; rest; rest >>= 1) {
        if (rest & 1)
            *at++ = '.';
        *at++ = '/';
    }
    *at = '\0';
    kitsune__format(path, path_size, "/proc/self/fd/%s%d", number, fd);
}
