/*
 * A small compressor for raw DEFLATE (RFC 1951), for input that arrives in pieces. All memory is static:
 *
 *   RING_BYTES     history of the input, a power of two; two 16-bit tables of positions go with it
 *   INPUT_BYTES    the largest piece of input, a power of two
 *   HASH_BITS      log2 of the number of chains
 *   BLOCK_SYMBOLS  literals and matches that are gathered for one block
 *
 * Output goes to frames_put, and frames_serve is called often.
 */
#ifndef DEFLATE_H
#define DEFLATE_H

#include <stdint.h>

#define MAX_MATCH 258u
/* Bytes at the start of the ring that are repeated after its end, so that a match may be compared across it. */
#define MIRROR_BYTES 272u
/* How far back a match may reach: what neither the piece that arrives nor a match in comparison can overwrite. */
#define HISTORY_BYTES (RING_BYTES - INPUT_BYTES - MIRROR_BYTES)

enum { MAX_LEVEL = 3 };

/* level: 1 to MAX_LEVEL. */
void deflate_begin(uint32_t level);

/* Where the next bytes of input go, and how many fit: a multiple of 4 if all pieces were, and never 0. */
uint8_t *deflate_space(void);
uint32_t deflate_room(void);

/* What was put there is history only: zlib's dictionary. Only before the first input. */
void deflate_dictionary(uint32_t bytes);
/* What was put there is input. */
void deflate_input(uint32_t bytes);

/* The last block, and zero bits up to a whole byte. */
void deflate_end(void);

#endif
