/*
 * The checksum of a release's file: see struct kitsune_identity.
 */
#ifndef KITSUNE_CHECKSUM_H
#define KITSUNE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Of `size` bytes whose struct kitsune_identity lies whole at offset `identity`. Any context. */
uint32_t kitsune__checksum(const void *bytes, size_t size, size_t identity);

#endif
