#define _GNU_SOURCE
#include "signature.h"

#include <dlfcn.h>
#include <string.h>

#include "platform.h"

#define ALGORITHM_SIZE 2
#define ID_SIZE 8
#define KEY_SIZE 32
#define SIGNATURE_SIZE 64
#define HASH_SIZE 64
#define COMMENT_LIMIT 1024
#define BASE64 1 /* sodium_base64_VARIANT_ORIGINAL */

#define UNTRUSTED "untrusted comment: "
#define TRUSTED "trusted comment: "

/* libsodium's names, each with its type in all of its versions. */
static struct {
    int (*init)(void);
    int (*hash)(unsigned char *, size_t, const unsigned char *, unsigned long long,
                const unsigned char *, size_t);
    int (*verify)(const unsigned char *, const unsigned char *, unsigned long long,
                  const unsigned char *);
    int (*decode)(unsigned char *, size_t, const char *, size_t, const char *, size_t *,
                  const char **, int);
} sodium;

static void *open_library(void) {
    static const char *const names[] = {"libsodium.so.23", "libsodium.so.26"};
    void *library = NULL;

    for (size_t i = 0; i < sizeof names / sizeof names[0] && !library; i++)
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    return library;
}

/* A pointer to an object is no pointer to a function in C; POSIX promises that the bytes are. */
static int find(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);

    memcpy(function, &found, sizeof found);
    return found != NULL;
}

int kitsune__signature_start(struct kitsune__problem *problem) {
    void *library = sodium.init ? NULL : open_library();

    if (sodium.init)
        return 0;
    if (!library)
        return kitsune__refuse(problem, KITSUNE__NO_SODIUM,
                               "signatures are checked by libsodium, which is not installed "
                               "(Debian, Ubuntu: apt install libsodium23): %s",
                               dlerror());
    if (!find(library, "crypto_generichash", &sodium.hash) ||
        !find(library, "crypto_sign_verify_detached", &sodium.verify) ||
        !find(library, "sodium_base642bin", &sodium.decode) ||
        !find(library, "sodium_init", &sodium.init) || sodium.init() < 0)
        return kitsune__refuse(problem, KITSUNE__NO_SODIUM, "libsodium cannot be used");
    return 0;
}

/* ---- the lines of a file ------------------------------------------------------------------- */

struct line {
    const char *text;
    size_t length;
};

/* Takes the next line off `*rest`; a final line need not end. Returns 0 if there is none. */
static int take_line(const char **rest, struct line *line) {
    size_t length = strcspn(*rest, "\n");

    if (**rest == '\0')
        return 0;
    *line = (struct line){*rest, length};
    *rest += length + ((*rest)[length] == '\n');
    if (length > 0 && line->text[length - 1] == '\r')
        line->length--;
    return 1;
}

/* Takes `prefix` off the line; returns 0 if it does not begin with it. */
static int strip(struct line *line, const char *prefix) {
    size_t length = strlen(prefix);

    if (line->length < length || memcmp(line->text, prefix, length) != 0)
        return 0;
    line->text += length;
    line->length -= length;
    return 1;
}

/* Decodes a line that must hold exactly `size` bytes. */
static int decode(const struct line *line, void *bytes, size_t size) {
    size_t length = 0;

    /* libsodium takes '+' and '/' with the highest bit set for themselves. */
    for (size_t i = 0; i < line->length; i++)
        if (line->text[i] & 0x80)
            return 0;
    return sodium.decode(bytes, size, line->text, line->length, NULL, &length, NULL, BASE64) == 0 &&
           length == size;
}

static int is_blank(const char *rest) {
    return rest[strspn(rest, "\r\n")] == '\0';
}

/* ---- keys ---------------------------------------------------------------------------------- */

int kitsune__signature_read_key(const char *text, struct kitsune__key *key,
                                struct kitsune__problem *problem) {
    unsigned char bytes[ALGORITHM_SIZE + ID_SIZE + KEY_SIZE];
    struct line comment, line;

    if (!take_line(&text, &comment) || !strip(&comment, UNTRUSTED) || !take_line(&text, &line) ||
        !decode(&line, bytes, sizeof bytes) || memcmp(bytes, "Ed", ALGORITHM_SIZE) != 0 ||
        !is_blank(text))
        return kitsune__refuse(problem, KITSUNE__NO_KEY,
                               "not a public key of minisign (the .pub file of minisign -G)");
    memcpy(key->id, bytes + ALGORITHM_SIZE, ID_SIZE);
    memcpy(key->bytes, bytes + ALGORITHM_SIZE + ID_SIZE, KEY_SIZE);
    return 0;
}

static const struct kitsune__key *find_key(const uint8_t *id, const struct kitsune__key *keys,
                                           size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(keys[i].id, id, ID_SIZE) == 0)
            return &keys[i];
    return NULL;
}

/* ---- signatures ---------------------------------------------------------------------------- */

struct signature {
    uint8_t algorithm[ALGORITHM_SIZE], id[ID_SIZE], bytes[SIGNATURE_SIZE];
    struct line comment;
    uint8_t of_comment[SIGNATURE_SIZE];
};

/* Returns 0 if the text is no signature. */
static int read_signature(const char *text, struct signature *signature) {
    unsigned char bytes[ALGORITHM_SIZE + ID_SIZE + SIGNATURE_SIZE];
    struct line line;

    if (!take_line(&text, &line) || !strip(&line, UNTRUSTED) || !take_line(&text, &line) ||
        !decode(&line, bytes, sizeof bytes))
        return 0;
    memcpy(signature->algorithm, bytes, ALGORITHM_SIZE);
    memcpy(signature->id, bytes + ALGORITHM_SIZE, ID_SIZE);
    memcpy(signature->bytes, bytes + ALGORITHM_SIZE + ID_SIZE, SIGNATURE_SIZE);
    return take_line(&text, &signature->comment) && strip(&signature->comment, TRUSTED) &&
           signature->comment.length <= COMMENT_LIMIT && take_line(&text, &line) &&
           decode(&line, signature->of_comment, SIGNATURE_SIZE) && is_blank(text);
}

static int is_of_bytes(const struct signature *signature, const struct kitsune__key *key,
                       const void *bytes, size_t size) {
    unsigned char hash[HASH_SIZE];

    return sodium.hash(hash, sizeof hash, bytes, size, NULL, 0) == 0 &&
           sodium.verify(signature->bytes, hash, sizeof hash, key->bytes) == 0;
}

static int is_of_comment(const struct signature *signature, const struct kitsune__key *key) {
    unsigned char signed_[SIGNATURE_SIZE + COMMENT_LIMIT];

    memcpy(signed_, signature->bytes, SIGNATURE_SIZE);
    memcpy(signed_ + SIGNATURE_SIZE, signature->comment.text, signature->comment.length);
    return sodium.verify(signature->of_comment, signed_, SIGNATURE_SIZE + signature->comment.length,
                         key->bytes) == 0;
}

static int refuse_key(const uint8_t *id, const char *what, struct kitsune__problem *problem) {
    char shown[2 * ID_SIZE + 1];

    for (unsigned i = 0; i < ID_SIZE; i++)
        for (unsigned half = 0; half < 2; half++)
            shown[2 * i + half] = "0123456789ABCDEF"[id[ID_SIZE - 1 - i] >> (half ? 0 : 4) & 15];
    shown[2 * ID_SIZE] = '\0';
    return kitsune__refuse(problem, KITSUNE__OTHER_KEY,
                           "%s is signed by key %s, which is none of those that the program was "
                           "started with",
                           what, shown);
}

int kitsune__signature_check(const void *bytes, size_t size, const char *text,
                             const struct kitsune__key *keys, size_t key_count, const char *what,
                             struct kitsune__problem *problem) {
    struct signature signature;
    const struct kitsune__key *key;

    if (!read_signature(text, &signature))
        return kitsune__refuse(problem, KITSUNE__NO_SIGNATURE,
                               "what lies beside %s is no signature of minisign", what);
    if (memcmp(signature.algorithm, "ED", ALGORITHM_SIZE) != 0)
        return kitsune__refuse(problem, KITSUNE__NO_SIGNATURE,
                               "%s is signed in minisign's old form; sign without -l", what);
    key = find_key(signature.id, keys, key_count);
    if (!key)
        return refuse_key(signature.id, what, problem);
    if (!is_of_bytes(&signature, key, bytes, size))
        return kitsune__refuse(problem, KITSUNE__WRONG_SIGNATURE,
                               "the signature is not of these bytes: %s was changed after it was "
                               "signed, or the signature is of another file",
                               what);
    if (!is_of_comment(&signature, key))
        return kitsune__refuse(problem, KITSUNE__WRONG_SIGNATURE,
                               "the signature of %s has a trusted comment that was not signed",
                               what);
    return 0;
}
