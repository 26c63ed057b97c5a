/* The inner loop of SHA-256, in C and with special instructions. Private to base and its tests. */
#ifndef SUMI_SHA256_BLOCKS_H
#define SUMI_SHA256_BLOCKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

extern const uint32_t sumi_sha256_constants[64];

/* Both take count blocks of 64 bytes into state and give the same bits. */
void sumi_sha256_plain_blocks(uint32_t state[8], const uint8_t *bytes, size_t count);
void sumi_sha256_fast_blocks(uint32_t state[8], const uint8_t *bytes, size_t count);
/* Whether this CPU can run the fast one. */
bool sumi_sha256_has_fast_blocks(void);

#endif
