/*
 * What differs between chips. The numbers come from ../chips.mjs as macros of the compiler's command line.
 *
 *   UART0, UART0_TX                    registers of the serial port; where bytes to send are written
 *   ROM_FLASH_READ                     ROM: int (address, buffer, bytes), 0 is success
 *   ROM_MD5_INIT, _UPDATE, _FINAL      ROM: (context), (context, bytes, length), (digest, context)
 *   MD5_FINAL_CONTEXT_FIRST            1 where the last takes (context, digest)
 *   WINDOWED                           1 where ROM and stub use the windowed calls of Xtensa: window_shim.S
 *   RING_BYTES, INPUT_BYTES, HASH_BITS, BLOCK_SYMBOLS   sizes of the compressor: deflate.h
 *   OUTPUT_BYTES                       bytes that may wait for the line, a power of two
 *   MAX_RUNS                           runs of one request
 */
#ifndef CHIP_H
#define CHIP_H

#include <stdint.h>

/* A register, or an argument of a ROM function: also holds a pointer. */
typedef uintptr_t word;

#ifdef READER_ON_HOST
/* In the tests the line and the ROM are functions of the harness. */
uint32_t uart_status(void);
uint32_t uart_take(void);
void uart_send(uint32_t byte);
uint32_t uart_mask_interrupts(void);
void uart_restore_interrupts(uint32_t enabled);
word rom_call(word function, word a, word b, word c);

#else

#define REGISTER(address) (*(volatile uint32_t *)(address))

/* Offsets are the same on all chips (esp-stub-lib, include/soc/uart_reg.h of each). */
enum { UART_FIFO = 0x00, UART_INT_ENA = 0x0c, UART_INT_CLR = 0x10, UART_STATUS = 0x1c };

/* Received bytes that wait in bits 0 to 7, bytes still to send in bits 16 to 23. */
static inline uint32_t uart_status(void)
{
    return REGISTER(UART0 + UART_STATUS);
}

static inline uint32_t uart_take(void)
{
    return REGISTER(UART0 + UART_FIFO) & 0xff;
}

static inline void uart_send(uint32_t byte)
{
    REGISTER(UART0_TX) = byte;
}

/* The stub's receive interrupt would take the acknowledgements for itself. */
static inline uint32_t uart_mask_interrupts(void)
{
    uint32_t enabled = REGISTER(UART0 + UART_INT_ENA);
    REGISTER(UART0 + UART_INT_ENA) = 0;
    return enabled;
}

static inline void uart_restore_interrupts(uint32_t enabled)
{
    REGISTER(UART0 + UART_INT_CLR) = 0xffffffff;
    REGISTER(UART0 + UART_INT_ENA) = enabled;
}

#if WINDOWED
word rom_call(word function, word a, word b, word c);
#else
static inline word rom_call(word function, word a, word b, word c)
{
    return ((word(*)(word, word, word))function)(a, b, c);
}
#endif
#endif
#endif
