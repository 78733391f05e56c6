/*
 * The compressor alone. Input: cases of four words (level, bytes of dictionary, bytes of data, longest piece that is
 * put in at once), then dictionary and data. Output of each: a word with the length, and the stream.
 */
#include "../src/deflate.h"
#include "../src/frames.h"
#include "io.h"

static uint8_t out[1 << 23];
static uint32_t out_bytes;

void frames_put(uint8_t byte)
{
    if (out_bytes == sizeof out) io_exit(TOO_LONG);
    out[out_bytes++] = byte;
}

void frames_serve(void)
{
}

static void feed(uint32_t bytes, uint32_t longest, void (*arrived)(uint32_t))
{
    while (bytes > 0) {
        uint32_t piece = deflate_room();
        if (piece > longest) piece = longest;
        if (piece > bytes) piece = bytes;
        if (!io_read(deflate_space(), piece)) io_exit(TRUNCATED);
        arrived(piece);
        bytes -= piece;
    }
}

void run(void)
{
    for (;;) {
        uint32_t level = io_word(), dictionary = io_word(), bytes = io_word(), longest = io_word();
        out_bytes = 0;
        deflate_begin(level);
        feed(dictionary, longest, deflate_dictionary);
        feed(bytes, longest, deflate_input);
        deflate_end();
        io_write_word(out_bytes);
        io_write(out, out_bytes);
    }
}
