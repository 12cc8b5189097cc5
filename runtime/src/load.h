/*
 * Loads releases and keeps the list of images: which version runs, which is being loaded, which are
 * retired but still mapped.
 *
 * Invariants:
 *  - Exactly one image is `current`. `incoming` is not NULL only inside a transaction. An image that
 *    was current before is in the list until retire unloads it.
 *  - An image's structure is malloc'ed by the launcher and never moves. Allocated inside a
 *    transaction, it vanishes with the rollback.
 *  - Everything here runs in the program's thread, outside signal handlers, except where said.
 */
#ifndef KITSUNE_LOAD_H
#define KITSUNE_LOAD_H

#include "kitsune_abi.h"
#include "outcome.h"
#include "request.h"

struct kitsune__image {
    const struct kitsune_release *release;
    void *handle;                         /* of dlopen */
    const uint8_t *start, *end;           /* page-aligned bounds of what is mapped of it */
    const uint8_t *code_start, *code_end; /* of its executable part */
    uint8_t build_id[KITSUNE_BUILD_ID_SIZE];
    int has_build_id;
    uint32_t
        serial; /* 1 for the first release, then counting up: tells images of equal name apart */
    char *path; /* as the user named it; owned */
    struct kitsune__held held;   /* if it ran before: retire's */
    struct kitsune__image *next; /* older */
};

/* The running version, and the version being loaded (NULL outside a transaction). */
struct kitsune__image *kitsune__image_current(void);
struct kitsune__image *kitsune__image_incoming(void);
/* The image whose mapped range holds the address, or NULL. Any thread, signal handlers too. */
struct kitsune__image *kitsune__image_at(const void *address);
/* Head of the list of all loaded images, newest first. */
struct kitsune__image *kitsune__images(void);
/* What an image is. */
struct kitsune__running kitsune__image_names(const struct kitsune__image *image);
/* Takes an image out of the list and frees the structure; retire, after it has closed the handle. */
void kitsune__image_forget(struct kitsune__image *image);

/* Tells which images are mapped, for `status`; when the channel has begun, and at each change. */
void kitsune__load_tell(void);

/*
 * Loads the first release; its path may be loaded as it is. Returns 0 or a code with `reason`.
 * Afterwards the launcher's table and the gate are in place and `current` is set.
 */
uint32_t kitsune__load_first(const char *path, char *reason, size_t reason_size);
/*
 * Loads the next release inside a transaction: `incoming` is set when it returns 0. Constructors run
 * here. `file` is what is opened (a name never used before in this process), `path` what messages
 * name. The rollback undoes everything.
 */
uint32_t kitsune__load_next(const char *file, const char *path, char *reason, size_t reason_size);
/* After the commit store: `incoming` becomes `current`. Cannot fail. */
void kitsune__load_commit(void);

/* The virtual address that an offset of an object file's bytes is loaded at; UINT64_MAX if none is. */
uint64_t kitsune__load_address_at(const uint8_t *file, size_t size, uint64_t offset);
/* Fills `function` and `start` of a frame from its offset and the symbol table of the object file's
 * bytes, if that tells. Any context. */
void kitsune__load_name_frame(const uint8_t *file, size_t size, struct kitsune__frame *frame);
/* The same from the file that a loaded image came from, if it is still that file. */
void kitsune__load_name_frame_in(const struct kitsune__image *image, struct kitsune__frame *frame);

#endif
