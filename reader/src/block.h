/* Gathers literals and matches, and writes them as one block of DEFLATE: stored, fixed or dynamic, the smallest. */
#ifndef BLOCK_H
#define BLOCK_H

#include <stdint.h>

/* Forgets everything: a new stream. */
void block_begin(void);

void block_literal(uint32_t byte);
/* length: 3 to 258; distance: 1 to 32768. */
void block_match(uint32_t length, uint32_t distance);

/* Must the block be written before the next symbol? */
uint32_t block_full(void);

/*
 * Writes the symbols gathered, and forgets them. They stand for `bytes` bytes from position `start` of the ring, which
 * is where they are taken from if they are stored. After the last block the output is filled up to a whole byte.
 */
void block_write(uint32_t last, const uint8_t *ring, uint32_t ring_mask, uint32_t start, uint32_t bytes);

#endif
