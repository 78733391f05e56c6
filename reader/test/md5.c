/* MD5 (RFC 1321), in the place of the ROM's. */
#include "md5.h"

static const uint32_t sines[64] = {
    0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
    0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
    0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
    0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
    0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
    0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
    0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
    0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};
static const uint8_t turns[16] = {7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21};

static void block(uint32_t state[4], const uint8_t *bytes)
{
    uint32_t words[16], a = state[0], b = state[1], c = state[2], d = state[3];
    for (uint32_t i = 0; i < 16; i++)
        words[i] = bytes[4 * i] | bytes[4 * i + 1] << 8 | bytes[4 * i + 2] << 16 | (uint32_t)bytes[4 * i + 3] << 24;
    for (uint32_t i = 0; i < 64; i++) {
        uint32_t mixed, from;
        switch (i >> 4) {
        case 0: mixed = (b & c) | (~b & d); from = i; break;
        case 1: mixed = (d & b) | (~d & c); from = 5 * i + 1; break;
        case 2: mixed = b ^ c ^ d; from = 3 * i + 5; break;
        default: mixed = c ^ (b | ~d); from = 7 * i; break;
        }
        uint32_t sum = a + mixed + sines[i] + words[from & 15], turn = turns[(i >> 4) * 4 + (i & 3)];
        a = d;
        d = c;
        c = b;
        b += sum << turn | sum >> (32 - turn);
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
}

void md5_init(struct md5_state *md5)
{
    static const uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (uint32_t i = 0; i < 4; i++) md5->state[i] = start[i];
    md5->bytes = 0;
}

void md5_update(struct md5_state *md5, const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        md5->rest[md5->bytes++ & 63] = bytes[i];
        if ((md5->bytes & 63) == 0) block(md5->state, md5->rest);
    }
}

void md5_final(struct md5_state *md5, uint8_t *digest)
{
    static const uint8_t end = 0x80, zero = 0;
    uint32_t bytes = md5->bytes;
    md5_update(md5, &end, 1);
    while ((md5->bytes & 63) != 56) md5_update(md5, &zero, 1);
    for (uint32_t i = 0; i < 8; i++) {
        uint8_t byte = (uint8_t)(i < 4 ? bytes << 3 >> (8 * i) : i == 4 ? bytes >> 29 : 0);
        md5_update(md5, &byte, 1);
    }
    for (uint32_t i = 0; i < 16; i++) digest[i] = (uint8_t)(md5->state[i / 4] >> (8 * (i & 3)));
}
