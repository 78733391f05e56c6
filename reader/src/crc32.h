/* CRC-32 as zlib has it (polynomial EDB88320, reflected), so that the host can use zlib's. */
#ifndef CRC32_H
#define CRC32_H

#include <stdint.h>

#define CRC32_START 0xffffffffu

/* For each value of four bits; eight steps make a word. A table for bytes would cost 1 KB of RAM. */
extern const uint32_t crc32_nibbles[16];

static inline uint32_t crc32_byte(uint32_t crc, uint32_t byte)
{
    crc ^= byte;
    crc = crc >> 4 ^ crc32_nibbles[crc & 15];
    return crc >> 4 ^ crc32_nibbles[crc & 15];
}

/* By whole words: instruction RAM cannot be read in bytes. */
uint32_t crc32_words(uint32_t crc, const uint32_t *words, uint32_t count);

#endif
