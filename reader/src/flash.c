#include "flash.h"
#include "chip.h"
#include "frames.h"

void md5_begin(struct md5 *md5)
{
    rom_call(ROM_MD5_INIT, (word)md5->context, 0, 0);
}

void md5_add(struct md5 *md5, const uint8_t *bytes, uint32_t count)
{
    rom_call(ROM_MD5_UPDATE, (word)md5->context, (word)bytes, count);
    frames_serve();
}

void md5_end(struct md5 *md5, uint32_t digest[4])
{
#if MD5_FINAL_CONTEXT_FIRST
    rom_call(ROM_MD5_FINAL, (word)md5->context, (word)digest, 0);
#else
    rom_call(ROM_MD5_FINAL, (word)digest, (word)md5->context, 0);
#endif
}

uint32_t flash_read(uint32_t address, uint8_t *to, uint32_t count)
{
    if ((uint32_t)rom_call(ROM_FLASH_READ, address, (word)to, count) != 0) frames_fail(FLASH_FAILED);
    frames_serve();
    return frames_status() == COMPLETE;
}

static uint32_t mix(uint32_t x)
{
    x *= 0x9e3779b1u;
    x ^= x >> 15;
    x *= 0x85ebca6bu;
    return x ^ x >> 13;
}

static uint32_t pattern_word(uint32_t address)
{
    uint32_t index = address >> 2;
    switch (address >> 8 & 3) {
    case 0:
        return mix(index);
    case 1:
        return mix(index & 15);
    case 2:
        return 0x41414141u + (mix(index >> 2) & 0x0f0f0f0fu);
    default:
        return 0xffffffffu;
    }
}

uint32_t pattern_read(uint32_t address, uint8_t *to, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t value = pattern_word(address + i);
        to[i] = (uint8_t)value;
        to[i + 1] = (uint8_t)(value >> 8);
        to[i + 2] = (uint8_t)(value >> 16);
        to[i + 3] = (uint8_t)(value >> 24);
    }
    frames_serve();
    return frames_status() == COMPLETE;
}
