#ifndef TEST_MD5_H
#define TEST_MD5_H

#include <stdint.h>

/* Fits into the context that flash.h has for that of the ROM. */
struct md5_state {
    uint32_t state[4], bytes;
    uint8_t rest[64];
};

void md5_init(struct md5_state *md5);
void md5_update(struct md5_state *md5, const uint8_t *bytes, uint32_t count);
void md5_final(struct md5_state *md5, uint8_t *digest);

#endif
