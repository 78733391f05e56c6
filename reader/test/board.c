/*
 * The whole program with a stub, a ROM, a flash and a line that are made here.
 *
 * Input: a word with the length of the flash, its bytes; then commands, of these words and bytes:
 *
 *   opcode, length of the request, the request
 *   acknowledge every n-th frame (0: none), after so many looks at the UART
 *   bytes that the line takes between two looks
 *   after so many bytes on the line the host says something (0: never), length of that, its bytes
 *   spoil the program in RAM first (0, 1)
 *
 * Output for each command: a word with the length, and what was on the line: the stub's reply, and the frames; then the
 * interrupts that are enabled at the end, and the bytes that the host sent and nobody has taken.
 */
#include "../src/chip.h"
#include "../src/crc32.h"
#include "../src/stub.h"
#include "io.h"
#include "md5.h"

enum { FIFO_BYTES = 128, INTERRUPTS = 0x1234 };

static uint8_t flash[1 << 21], line[1 << 22], request[1 << 14], said[1 << 10];
static uint32_t flash_bytes, line_bytes;

/* The program in RAM, as the linker script has it for the chip. */
__asm__(".data\n.balign 4\n"
        ".globl text_start\ntext_start: .long 0x11111111, 0x22222222, 0x33333333\n.globl text_end\ntext_end:\n"
        ".globl constants_start\nconstants_start: .long 0x44444444, 0x55555555\n"
        ".globl image_crc\nimage_crc: .long 0\n.text\n");
extern uint32_t text_start[], text_end[], constants_start[], image_crc[];

static uint32_t now, acknowledge_every, acknowledge_after, line_speed, say_at, say_bytes, interrupts = INTERRUPTS;
static uint32_t fifo, frame_open, frames, unacknowledged, stream_bytes;

/* Bytes on their way to the chip, and when each is there. No division here: the lx106 has none. */
enum { COMING = 1 << 11 };
static struct {
    uint8_t byte;
    uint32_t due;
} coming[COMING];
static uint32_t coming_in, coming_out;

static void host_says(uint8_t byte, uint32_t after)
{
    if (coming_in - coming_out == COMING) io_exit(TOO_LONG);
    coming[coming_in & (COMING - 1)].byte = byte;
    coming[coming_in++ & (COMING - 1)].due = now + after;
}

static void on_line(uint8_t byte)
{
    if (line_bytes == sizeof line) io_exit(TOO_LONG);
    line[line_bytes++] = byte;
}

uint32_t uart_status(void)
{
    uint32_t there = 0;
    now++;
    fifo -= fifo < line_speed ? fifo : line_speed;
    while (there < coming_in - coming_out && there < FIFO_BYTES &&
           coming[(coming_out + there) & (COMING - 1)].due <= now)
        there++;
    return there | fifo << 16;
}

uint32_t uart_take(void)
{
    return coming_out == coming_in ? 0 : coming[coming_out++ & (COMING - 1)].byte;
}

void uart_send(uint32_t byte)
{
    if (++fifo > FIFO_BYTES) io_exit(FIFO_OVERRUN);
    on_line((uint8_t)byte);
    stream_bytes++;
    if (byte == 0xc0) {
        frame_open ^= 1;
        if (!frame_open) {
            frames++;
            if (acknowledge_every && ++unacknowledged == acknowledge_every) {
                unacknowledged = 0;
                host_says(frames & 0x7f, acknowledge_after);
            }
        }
    }
    if (say_at && stream_bytes == say_at)
        for (uint32_t i = 0; i < say_bytes; i++) host_says(said[i], 1);
}

uint32_t uart_mask_interrupts(void)
{
    uint32_t were = interrupts;
    interrupts = 0;
    return were;
}

void uart_restore_interrupts(uint32_t enabled)
{
    interrupts = enabled;
}

word rom_call(word function, word a, word b, word c)
{
    switch (function) {
    case ROM_FLASH_READ:
        if ((a | b | c) & 3) io_exit(MISALIGNED);
        if (c > flash_bytes || a > flash_bytes - c) return 1;
        for (word i = 0; i < c; i++) ((uint8_t *)b)[i] = flash[a + i];
        return 0;
    case ROM_MD5_INIT:
        md5_init((struct md5_state *)a);
        return 0;
    case ROM_MD5_UPDATE:
        md5_update((struct md5_state *)a, (const uint8_t *)b, (uint32_t)c);
        return 0;
    default:
        md5_final((struct md5_state *)b, (uint8_t *)a);
        return 0;
    }
}

static void slip(const uint8_t *bytes, uint32_t count)
{
    on_line(0xc0);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte = bytes[i];
        if (byte != 0xc0 && byte != 0xdb) {
            on_line(byte);
            continue;
        }
        on_line(0xdb);
        on_line(byte == 0xc0 ? 0xdc : 0xdd);
    }
    on_line(0xc0);
}

/* As handle_command and s_send_response of the stub do it. */
static void command(uint32_t opcode, const uint8_t *data, uint32_t bytes)
{
    static struct reply none;
    struct reply reply = none;
    uint8_t frame[8 + sizeof reply.data + 2];
    uint32_t status = (uint32_t)reader_command(opcode, data, bytes, &reply), at = 8;
    if (status) reply = none;
    frame[0] = 1;
    frame[1] = (uint8_t)opcode;
    frame[2] = (uint8_t)(reply.data_bytes + 2);
    frame[3] = 0;
    for (uint32_t i = 0; i < 4; i++) frame[4 + i] = (uint8_t)(reply.value >> (8 * i));
    for (uint32_t i = 0; i < reply.data_bytes; i++) frame[at++] = reply.data[i];
    frame[at++] = (uint8_t)(status >> 8);
    frame[at++] = (uint8_t)status;
    slip(frame, at);
    if (reply.post_process) reply.post_process(0);
}

static void take(uint8_t *to, uint32_t room, uint32_t bytes)
{
    if (bytes > room) io_exit(TOO_LONG);
    if (bytes > 0 && !io_read(to, bytes)) io_exit(TRUNCATED);
}

static uint32_t program_crc(void)
{
    uint32_t crc = crc32_words(CRC32_START, text_start, 3);
    return ~crc32_words(crc, constants_start, 2);
}

void run(void)
{
    flash_bytes = io_word();
    take(flash, sizeof flash, flash_bytes);
    for (;;) {
        uint32_t opcode = io_word(), bytes = io_word();
        take(request, sizeof request, bytes);
        acknowledge_every = io_word();
        acknowledge_after = io_word();
        line_speed = io_word();
        say_at = io_word();
        say_bytes = io_word();
        take(said, sizeof said, say_bytes);
        image_crc[0] = program_crc();
        if (io_word()) text_start[1] ^= 0x100;
        coming_in = coming_out = line_bytes = fifo = frame_open = frames = unacknowledged = stream_bytes = 0;
        command(opcode, request, bytes);
        io_write_word(line_bytes);
        io_write(line, line_bytes);
        io_write_word(interrupts);
        io_write_word(coming_in - coming_out);
    }
}
