/*
 * Signatures in the format of minisign: public keys and detached signatures (Ed25519 over the BLAKE2b
 * hash of the file, and over the signature together with its trusted comment).
 *
 * The arithmetic is libsodium's, which is loaded when the first key is read, so that a launcher without
 * keys does not need it. What is used of it allocates nothing and takes no lock.
 *
 * Context: kitsune__signature_start at the start; the rest as check.h.
 */
#ifndef KITSUNE_SIGNATURE_H
#define KITSUNE_SIGNATURE_H

#include <stddef.h>
#include <stdint.h>

#include "outcome.h"

struct kitsune__key {
    uint8_t id[8]; /* shown as minisign does, as a little-endian number */
    uint8_t bytes[32];
};

/* Loads libsodium. Returns 0, or -1 with KITSUNE__NO_SODIUM. */
int kitsune__signature_start(struct kitsune__problem *problem);

/* Reads the text of a public key's file. Returns 0, or -1 with KITSUNE__NO_KEY. */
int kitsune__signature_read_key(const char *text, struct kitsune__key *key,
                                struct kitsune__problem *problem);

/*
 * Whether `signature`, the text of a signature's file, is one of the bytes by one of the keys. Returns 0,
 * or -1 with KITSUNE__NO_SIGNATURE (it is none), KITSUNE__OTHER_KEY or KITSUNE__WRONG_SIGNATURE. `what`
 * begins the texts.
 */
int kitsune__signature_check(const void *bytes, size_t size, const char *signature,
                             const struct kitsune__key *keys, size_t key_count, const char *what,
                             struct kitsune__problem *problem);

#endif
