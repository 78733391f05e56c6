#include "io.h"

#ifdef READER_LIBC
#include <stdlib.h>
#include <unistd.h>

static long sys_read(void *to, uint32_t bytes)
{
    return read(0, to, bytes);
}

static long sys_write(const void *from, uint32_t bytes)
{
    return write(1, from, bytes);
}

void io_exit(int status)
{
    exit(status);
}

int main(void)
{
    run();
    return 0;
}

#else

/* Numbers and registers: linux/include/uapi/asm-generic/unistd.h, arch/xtensa/kernel/syscalls/syscall.tbl. */
#if defined(__riscv)
enum { READ = 63, WRITE = 64, EXIT = 93 };

static long call(long number, long a, long b, long c)
{
    register long a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c, a7 __asm__("a7") = number;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}
__asm__(".globl _start\n_start: call begin\n");
#else
enum { READ = 12, WRITE = 13, EXIT = 118 };

static long call(long number, long a, long b, long c)
{
    register long a2 __asm__("a2") = number, a6 __asm__("a6") = a, a3 __asm__("a3") = b, a4 __asm__("a4") = c;
    __asm__ volatile("syscall" : "+r"(a2) : "r"(a6), "r"(a3), "r"(a4) : "memory");
    return a2;
}
__asm__(".text\n.globl _start\n.align 4\n_start: call0 begin\n");
#endif

static long sys_read(void *to, uint32_t bytes)
{
    return call(READ, 0, (long)to, (long)bytes);
}

static long sys_write(const void *from, uint32_t bytes)
{
    return call(WRITE, 1, (long)from, (long)bytes);
}

void io_exit(int status)
{
    for (;;) call(EXIT, status, 0, 0);
}

__attribute__((used)) void begin(void)
{
    run();
    io_exit(0);
}
#endif

int io_read(void *to, uint32_t bytes)
{
    uint32_t done = 0;
    while (done < bytes) {
        long count = sys_read((uint8_t *)to + done, bytes - done);
        if (count <= 0 && done == 0) return 0;
        if (count <= 0) io_exit(TRUNCATED);
        done += (uint32_t)count;
    }
    return 1;
}

void io_write(const void *from, uint32_t bytes)
{
    uint32_t done = 0;
    while (done < bytes) {
        long count = sys_write((const uint8_t *)from + done, bytes - done);
        if (count <= 0) io_exit(TRUNCATED);
        done += (uint32_t)count;
    }
}
