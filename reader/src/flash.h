/* What is read, and its digest: both by functions of the ROM. Nothing here can write. */
#ifndef FLASH_H
#define FLASH_H

#include <stdint.h>

enum { SECTOR_BYTES = 4096 };
/* 24 bits of address. */
#define FLASH_END 0x1000000u

/* An MD5 under way: 88 bytes in every ROM, with room to spare. */
struct md5 {
    uint32_t context[64];
};

void md5_begin(struct md5 *md5);
void md5_add(struct md5 *md5, const uint8_t *bytes, uint32_t count);
void md5_end(struct md5 *md5, uint32_t digest[4]);

/* Fills `to`, which is aligned to 4, from `address`, both multiples of 4; 1 if it is filled and the stream goes on. */
uint32_t flash_read(uint32_t address, uint8_t *to, uint32_t count);

/* The same from the test pattern of PROTOCOL.md. */
uint32_t pattern_read(uint32_t address, uint8_t *to, uint32_t count);

#endif
