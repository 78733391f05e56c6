#include "frames.h"
#include "chip.h"
#include "crc32.h"

enum { SLIP_END = 0xc0, SLIP_ESC = 0xdb, SLIP_ESC_END = 0xdc, SLIP_ESC_ESC = 0xdd };

/* A byte that is no number of an acknowledgement and no SLIP: stop. */
enum { ABORT = 0xff };

/* The FIFO holds 128; a few are left free, since its counter lags behind. */
enum { FIFO_FILL = 120 };

/* Turns of a waiting loop without any progress until the host is taken for dead: 2 s at 160 MHz, 10 s at 40 MHz. */
enum { STALL_TURNS = 6000000 };

/* Turns without a byte that count as quiet: 10 ms at 160 MHz. Longer where the host is inside of a frame. */
enum { QUIET_TURNS = 30000, QUIET_TURNS_IN_FRAME = 3000000, MAX_DROPPED = 1 << 17 };

enum { NOTHING = 0x100, DELIMITER = 0x200 };

/* Data that waits for the line. Positions run freely; their difference is the fill. */
static uint8_t output[OUTPUT_BYTES];
static uint32_t output_in, output_out;

/* The frame on its way: what its next byte is. */
static enum { IDLE, SEQUENCE, PAYLOAD, CHECK, CLOSE } part;
static uint32_t payload_left, check_left, crc, escaped;

/* Frames sent to their end, and acknowledged; both run freely. */
static uint32_t sent, acknowledged, window;

/* May a frame be shorter than FRAME_BYTES; is the frame to be sent the last. */
static uint32_t flushing, closing;

static uint32_t status, turns, stalled, discarding, discarded;

/* Has the host begun a frame of its own (then it no longer listens, and the stream ends)? */
static uint32_t host_in_frame;

static uint32_t waiting(void)
{
    return output_in - output_out;
}

/* Begins the next frame if there is enough for one and the window is open. */
static uint32_t begin_frame(void)
{
    payload_left = waiting();
    if (payload_left > FRAME_BYTES) payload_left = FRAME_BYTES;
    if (payload_left == 0 || (payload_left < FRAME_BYTES && !flushing)) return NOTHING;
    if (sent - acknowledged >= window && !closing) return NOTHING;
    part = SEQUENCE;
    crc = CRC32_START;
    return DELIMITER;
}

static void begin_check(void)
{
    part = CHECK;
    crc = ~crc;
    check_left = 4;
}

/* The next byte of the line before escaping, if the frame is not at its payload; DELIMITER, or NOTHING. */
static uint32_t next_byte(void)
{
    uint32_t byte;
    switch (part) {
    case IDLE:
        return begin_frame();
    case SEQUENCE:
        byte = (sent & 0x7f) | (closing ? 0x80 : 0);
        crc = crc32_byte(crc, byte);
        part = PAYLOAD;
        return byte;
    case CHECK:
        byte = crc & 0xff;
        crc >>= 8;
        if (--check_left == 0) part = CLOSE;
        return byte;
    default:
        part = IDLE;
        sent++;
        return DELIMITER;
    }
}

static void take_from_host(uint32_t byte)
{
    if (byte == SLIP_END) host_in_frame ^= 1;
    if (byte == SLIP_END || byte == ABORT) {
        frames_fail(ABORTED);
        return;
    }
    /* A number of frames, modulo 128, of which none can be more than were sent. Anything else is noise. */
    uint32_t more = (byte - acknowledged) & 0x7f;
    if (byte < 0x80 && more > 0 && more <= sent - acknowledged) {
        acknowledged += more;
        stalled = 0;
    }
}

/*
 * The bulk of a frame, until the FIFO is full, the payload is at its end, or a byte needs its escape. Returns the room
 * that is left in the FIFO. What next_byte does for one byte, in a loop of its own: this is where most of the time of a
 * stream without compression goes.
 */
static uint32_t send_payload(uint32_t room)
{
    uint32_t at = output_out, left = payload_left, sum = crc, byte = 0;
    while (left > 0 && room > 0 && byte != SLIP_ESC) {
        byte = output[at++ & (OUTPUT_BYTES - 1)];
        sum = crc32_byte(sum, byte);
        left--;
        room--;
        if (byte == SLIP_END || byte == SLIP_ESC) {
            escaped = byte == SLIP_END ? SLIP_ESC_END : SLIP_ESC_ESC;
            byte = SLIP_ESC;
        }
        uart_send(byte);
    }
    output_out = at;
    payload_left = left;
    crc = sum;
    if (left == 0) begin_check();
    return room;
}

void frames_serve(void)
{
    uint32_t line = uart_status(), queued = line >> 16 & 0xff;
    for (uint32_t received = line & 0xff; received > 0; received--) take_from_host(uart_take());
    if (status == ABORTED || status == STALLED) return;
    for (uint32_t room = queued < FIFO_FILL ? FIFO_FILL - queued : 0; room > 0;) {
        uint32_t byte = escaped;
        if (byte) {
            escaped = 0;
        } else if (part == PAYLOAD) {
            room = send_payload(room);
            stalled = 0;
            continue;
        } else {
            byte = next_byte();
            if (byte == NOTHING) return;
            if (byte == DELIMITER) {
                byte = SLIP_END;
            } else if (byte == SLIP_END) {
                byte = SLIP_ESC;
                escaped = SLIP_ESC_END;
            } else if (byte == SLIP_ESC) {
                escaped = SLIP_ESC_ESC;
            }
        }
        uart_send(byte);
        stalled = 0;
        room--;
    }
}

/* One turn of a loop that waits for the line; 0 when there is nothing to wait for any more. */
static uint32_t wait(void)
{
    turns++;
    if (++stalled > STALL_TURNS) frames_fail(STALLED);
    frames_serve();
    return status == COMPLETE || status == FLASH_FAILED;
}

void frames_begin(uint32_t window_frames, uint32_t discard)
{
    output_in = output_out = 0;
    part = IDLE;
    payload_left = check_left = crc = escaped = 0;
    sent = acknowledged = 0;
    window = window_frames;
    flushing = closing = 0;
    status = COMPLETE;
    turns = stalled = discarded = 0;
    discarding = discard;
    host_in_frame = 0;
}

void frames_put(uint8_t byte)
{
    if (discarding) {
        discarded++;
        return;
    }
    while (waiting() >= OUTPUT_BYTES)
        if (!wait()) return;
    output[output_in++ & (OUTPUT_BYTES - 1)] = byte;
}

void frames_put_bytes(const uint8_t *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        uint32_t room = OUTPUT_BYTES - waiting(), end = count - i < room ? count : i + room;
        if (discarding || room == 0) {
            /* Counts it, or waits. */
            frames_put(bytes[i++]);
            continue;
        }
        while (i < end) output[output_in++ & (OUTPUT_BYTES - 1)] = bytes[i++];
        frames_serve();
    }
}

uint32_t frames_status(void)
{
    return status;
}

void frames_fail(uint32_t why)
{
    if (status == COMPLETE || (status == FLASH_FAILED && why != COMPLETE)) status = why;
}

uint32_t frames_data_bytes(void)
{
    return discarded + output_in;
}

/* Until all that waits has been handed to the UART. */
static void drain(void)
{
    flushing = 1;
    while ((waiting() > 0 || part != IDLE || escaped) && wait()) {
    }
    flushing = 0;
}

static void put_word(uint32_t value)
{
    for (uint32_t i = 0; i < 4; i++) frames_put((uint8_t)(value >> (8 * i)));
}

void frames_finish(uint32_t bytes_read, const uint8_t digest[16])
{
    uint32_t data_bytes = frames_data_bytes();
    drain();
    if (status == ABORTED || status == STALLED) return;
    discarding = 0;
    closing = 1;
    put_word(status);
    put_word(bytes_read);
    put_word(data_bytes);
    put_word(turns);
    frames_put_bytes(digest, 16);
    drain();
}

void frames_leave(void)
{
    /* After a good end the host is silent, and its late acknowledgements mean nothing to the stub. */
    if (status == COMPLETE || status == FLASH_FAILED) return;
    uint32_t dropped = 0;
    for (uint32_t quiet = 0; quiet < (host_in_frame ? QUIET_TURNS_IN_FRAME : QUIET_TURNS); quiet++) {
        if ((uart_status() & 0xff) == 0) continue;
        if (uart_take() == SLIP_END) host_in_frame ^= 1;
        quiet = 0;
        if (++dropped > MAX_DROPPED) return;
    }
}
