/*
 * The three commands, as the stub calls them. Its interface: esp-flasher-stub, src/command_handler.h and
 * docs/plugin-system.md.
 *
 * A handler checks and answers; what takes long is done after the reply has left, in the function that it leaves in
 * `post_process`. The request lies in a buffer of the stub, and is copied because it must outlast the handler.
 */
#include "chip.h"
#include "crc32.h"
#include "deflate.h"
#include "frames.h"
#include "stream.h"
#include "stub.h"
#include "table.h"

enum { INFO = 0xe0, TABLE = 0xe1, STREAM = 0xe2 };
enum { PROTOCOL_VERSION = 1, INFO_VALUE = 0x31445245 };
enum { STATUS_DONE = 0, STATUS_LENGTH = 0xc000, STATUS_DAMAGED = 0xc100, STATUS_RANGE = 0xc200 };

int reader_work(const struct context *context);
#if WINDOWED
int reader_work_windowed(const struct context *context); /* window_shim.S: leads to reader_work */
#define WORK reader_work_windowed
#else
#define WORK reader_work
#endif

/* The program as it was loaded, between symbols of the linker; its last word is the CRC that the build put there. */
extern const uint32_t text_start[], text_end[], constants_start[];
extern const volatile uint32_t image_crc[];

static uint32_t request[STREAM_WORDS + 2 * MAX_RUNS];
static uint32_t requested;

/* The stub takes what is loaded without checking it, and other commands of it use the same RAM. */
static uint32_t damaged(void)
{
    uint32_t crc = crc32_words(CRC32_START, text_start, (uint32_t)(text_end - text_start));
    crc = crc32_words(crc, constants_start, (uint32_t)((const uint32_t *)image_crc - constants_start));
    return ~crc != image_crc[0];
}

static void put_word(uint8_t *to, uint32_t value)
{
    for (uint32_t i = 0; i < 4; i++) to[i] = (uint8_t)(value >> (8 * i));
}

static int info(uint32_t bytes, struct reply *reply)
{
    if (bytes != 0) return STATUS_LENGTH;
    put_word(reply->data, PROTOCOL_VERSION);
    put_word(reply->data + 4, READER_BUILD);
    put_word(reply->data + 8, image_crc[0]);
    put_word(reply->data + 12, HISTORY_BYTES);
    put_word(reply->data + 16, MAX_RUNS);
    put_word(reply->data + 20, MAX_WINDOW);
    put_word(reply->data + 24, FRAME_BYTES);
    reply->data_bytes = 28;
    reply->value = INFO_VALUE;
    return STATUS_DONE;
}

int reader_command(uint32_t opcode, const uint8_t *data, uint32_t bytes, struct reply *reply)
{
    uint32_t words = bytes / 4;
    opcode &= 0xff; /* the stub passes a byte, and the rest of the register is not promised to be zero */
    if (damaged()) return STATUS_DAMAGED;
    if (opcode == INFO) return info(bytes, reply);
    if (bytes % 4 != 0 || bytes > sizeof request) return STATUS_LENGTH;
    for (uint32_t i = 0; i < words; i++)
        request[i] = data[4 * i] | data[4 * i + 1] << 8 | data[4 * i + 2] << 16 | (uint32_t)data[4 * i + 3] << 24;
    if (opcode == TABLE) {
        if (words != TABLE_WORDS) return STATUS_LENGTH;
        if (!table_valid(request)) return STATUS_RANGE;
    } else {
        if (words < STREAM_WORDS) return STATUS_LENGTH;
        if (words != STREAM_WORDS + 2 * (request[3] <= MAX_RUNS ? request[3] : MAX_RUNS)) return STATUS_LENGTH;
        if (!stream_valid(request, words)) return STATUS_RANGE;
        reply->value = HISTORY_BYTES;
    }
    requested = opcode;
    reply->post_process = WORK;
    return STATUS_DONE;
}

int reader_work(const struct context *context)
{
    (void)context;
    uint32_t interrupts = uart_mask_interrupts();
    if (requested == TABLE)
        table_send(request);
    else
        stream_send(request);
    uart_restore_interrupts(interrupts);
    return STATUS_DONE;
}
