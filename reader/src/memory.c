/* The compiler may call these two even where the sources do not. Without them the program would not link. */
#include <stddef.h>
#include <stdint.h>

void *memset(void *to, int value, size_t bytes)
{
    uint8_t *p = to;
    for (; bytes > 0; bytes--) {
        *p++ = (uint8_t)value;
        __asm__ volatile(""); /* keeps the compiler from making a call to memset of this loop */
    }
    return to;
}

void *memcpy(void *to, const void *from, size_t bytes)
{
    uint8_t *p = to;
    const uint8_t *q = from;
    for (; bytes > 0; bytes--) {
        *p++ = *q++;
        __asm__ volatile("");
    }
    return to;
}
