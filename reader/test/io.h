/*
 * Input and output of the test programs, with a C library (READER_LIBC: compiled for this machine) or by bare system
 * calls of Linux (for the chip's processor, under qemu-user, where there is none).
 */
#ifndef TEST_IO_H
#define TEST_IO_H

#include <stdint.h>

/* The program, called by io.c. */
void run(void);

/* Fills all of it and returns 1, or returns 0 at the end of input. A part only ends the program. */
int io_read(void *to, uint32_t bytes);
void io_write(const void *from, uint32_t bytes);
void io_exit(int status) __attribute__((noreturn));

static inline uint32_t io_word(void)
{
    uint8_t b[4] = {0, 0, 0, 0};
    if (!io_read(b, 4)) io_exit(0);
    return b[0] | b[1] << 8 | b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline void io_write_word(uint32_t value)
{
    uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
    io_write(b, 4);
}

/* Exit statuses of the test programs: what they found wrong. */
enum { TRUNCATED = 3, TOO_LONG = 4, FIFO_OVERRUN = 5, MISALIGNED = 6 };

#endif
