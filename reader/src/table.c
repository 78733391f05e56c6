#include "table.h"
#include "flash.h"
#include "frames.h"

enum { PIECE_BYTES = 1024 };

static uint8_t piece[PIECE_BYTES] __attribute__((aligned(4)));

uint32_t table_valid(const uint32_t *request)
{
    uint32_t address = request[0], sectors = request[1], window = request[2];
    if (address % SECTOR_BYTES != 0 || address >= FLASH_END) return 0;
    if (sectors == 0 || sectors > (FLASH_END - address) / SECTOR_BYTES) return 0;
    return window >= 1 && window <= MAX_WINDOW;
}

/* 1 if the sector was read. */
static uint32_t sector_digest(uint32_t address, uint32_t digest[4])
{
    static struct md5 md5;
    md5_begin(&md5);
    for (uint32_t at = 0; at < SECTOR_BYTES; at += PIECE_BYTES) {
        if (!flash_read(address + at, piece, PIECE_BYTES)) return 0;
        md5_add(&md5, piece, PIECE_BYTES);
    }
    md5_end(&md5, digest);
    return 1;
}

void table_send(const uint32_t *request)
{
    static struct md5 all;
    uint32_t address = request[0], sectors = request[1], digest[4], done;
    frames_begin(request[2], 0);
    md5_begin(&all);
    for (done = 0; done < sectors && sector_digest(address + done * SECTOR_BYTES, digest); done++) {
        const uint8_t *bytes = (const uint8_t *)digest;
        md5_add(&all, bytes, sizeof digest);
        frames_put_bytes(bytes, SECTOR_DIGEST_BYTES);
    }
    md5_end(&all, digest);
    frames_finish(done * SECTOR_BYTES, (const uint8_t *)digest);
    frames_leave();
}
