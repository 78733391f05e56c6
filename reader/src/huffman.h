/* Huffman codes as DEFLATE wants them (RFC 1951, 3.2.2). */
#ifndef HUFFMAN_H
#define HUFFMAN_H

#include <stdint.h>

enum { MAX_SYMBOLS = 288 };

/*
 * Lengths of the best code for these frequencies, none longer than `limit`; 0 for symbols that do not occur. The code
 * is always complete, so two symbols get a length even where fewer occur. At most MAX_SYMBOLS; 2^limit is at least
 * their number.
 */
void huffman_lengths(const uint16_t *frequencies, uint8_t *lengths, uint32_t symbols, uint32_t limit);

/* The codes of these lengths, with their bits in the order in which they are sent, lowest first. */
void huffman_codes(const uint8_t *lengths, uint16_t *codes, uint32_t symbols);

#endif
