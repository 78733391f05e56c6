#include "stream.h"
#include "chip.h"
#include "deflate.h"
#include "flash.h"
#include "frames.h"

enum { LEVEL, WINDOW, FLAGS, RUNS };

static uint8_t plain[INPUT_BYTES] __attribute__((aligned(4)));
static struct md5 md5;

uint32_t stream_valid(const uint32_t *request, uint32_t words)
{
    uint32_t runs = request[RUNS], flags = request[FLAGS], level = request[LEVEL];
    if (runs == 0 || runs > MAX_RUNS || words != STREAM_WORDS + 2 * runs) return 0;
    if (level > MAX_LEVEL || request[WINDOW] == 0 || request[WINDOW] > MAX_WINDOW) return 0;
    if (flags & ~(uint32_t)(STREAM_DICTIONARY | STREAM_PATTERN | STREAM_MEASURE)) return 0;
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t address = request[STREAM_WORDS + 2 * run], bytes = request[STREAM_WORDS + 2 * run + 1];
        if (address % 4 != 0 || bytes % 4 != 0 || address > FLASH_END || bytes > FLASH_END - address) return 0;
    }
    if (!(flags & STREAM_DICTIONARY)) return 1;
    return level > 0 && request[STREAM_WORDS + 1] <= HISTORY_BYTES;
}

/* One run; returns the bytes read. */
static uint32_t send_run(uint32_t address, uint32_t bytes, const uint32_t *request, uint32_t dictionary)
{
    uint32_t done = 0, level = request[LEVEL];
    while (done < bytes) {
        uint8_t *piece = level > 0 ? deflate_space() : plain;
        uint32_t room = level > 0 ? deflate_room() : INPUT_BYTES;
        uint32_t count = bytes - done < room ? bytes - done : room;
        uint32_t good = request[FLAGS] & STREAM_PATTERN ? pattern_read(address + done, piece, count)
                                                        : flash_read(address + done, piece, count);
        if (!good) break;
        done += count;
        if (dictionary) {
            deflate_dictionary(count);
            continue;
        }
        md5_add(&md5, piece, count);
        if (level > 0)
            deflate_input(count);
        else
            frames_put_bytes(piece, count);
    }
    return done;
}

void stream_send(const uint32_t *request)
{
    uint32_t total = 0, digest[4];
    frames_begin(request[WINDOW], request[FLAGS] & STREAM_MEASURE);
    md5_begin(&md5);
    if (request[LEVEL] > 0) deflate_begin(request[LEVEL]);
    for (uint32_t run = 0; run < request[RUNS]; run++) {
        const uint32_t *range = request + STREAM_WORDS + 2 * run;
        uint32_t dictionary = run == 0 && (request[FLAGS] & STREAM_DICTIONARY);
        uint32_t done = send_run(range[0], range[1], request, dictionary);
        if (!dictionary) total += done;
        if (frames_status() != COMPLETE) break;
    }
    if (request[LEVEL] > 0 && frames_status() == COMPLETE) deflate_end();
    md5_end(&md5, digest);
    frames_finish(total, (const uint8_t *)digest);
    frames_leave();
}
