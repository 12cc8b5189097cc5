#include "checksum.h"

#include "kitsune_abi.h"

#define POLYNOMIAL 0xedb88320u /* of CRC-32, bits reversed */

static void fill_table(uint32_t table[256]) {
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] >> 1 ^ (table[i] & 1 ? POLYNOMIAL : 0);
    }
}

static uint32_t add(const uint32_t table[256], uint32_t sum, const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        sum = sum >> 8 ^ table[(sum ^ bytes[i]) & 255];
    return sum;
}

uint32_t kitsune__checksum(const void *bytes, size_t size, size_t identity) {
    static const uint8_t zeros[sizeof(uint32_t)];
    size_t field = identity + offsetof(struct kitsune_identity, checksum);
    size_t behind = field + sizeof zeros;
    uint32_t table[256], sum = ~0u;

    fill_table(table);
    sum = add(table, sum, bytes, field);
    sum = add(table, sum, zeros, sizeof zeros);
    return ~add(table, sum, (const uint8_t *)bytes + behind, size - behind);
}
