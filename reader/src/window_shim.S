/*
 * ESP32, S2 and S3: the stub and the ROM use the windowed calls of Xtensa (entry, call8, retw), the compiler of Debian,
 * made for the lx106 of the ESP8266, knows only call0. This file leads from one world to the other and back.
 *
 * Its assembler does not know the windowed instructions, so they are given as bytes (Xtensa Instruction Set
 * Architecture, chapter 6; 24 bits, little-endian):
 *
 *   entry a1, 96    0x00c136    imm12 = 96 / 8, register 1, opcode 0x36
 *   retw            0x000090
 *   callx8 a2       0x0000e0 | 2 << 8
 *
 * Windows that the hardware has to save go below the stack pointer of the frame that follows theirs. So a1 of a
 * windowed frame may change only while no window can be saved: while C runs, which never turns the window, with
 * interrupts masked, on a stack of its own. For each call into the windowed world a1 first becomes again what entry had
 * made of it.
 */
    .section .text
    .literal_position

    .macro LEAD_IN name, function
    .align 4
    .globl \name
\name:
    .byte 0x36, 0xc1, 0x00      /* entry a1, 96 */
    movi a15, 0                 /* highest register: windows in our way are saved now ("or" would become nop) */
    rsil a8, 15
    movi a9, saved
    s32i a1, a9, 0              /* stack pointer of the windowed world */
    s32i a8, a9, 4              /* its processor state, with its interrupts */
    s32i a0, a1, 0              /* return address, with the bits of its window */
    movi a1, stack_top
    call0 \function
    movi a9, saved
    l32i a1, a9, 0
    l32i a8, a9, 4
    l32i a0, a1, 0
    wsr a8, ps
    rsync
    .byte 0x90, 0x00, 0x00      /* retw */
    .endm

    LEAD_IN reader_command_windowed, reader_command
    LEAD_IN reader_work_windowed, reader_work

/* word rom_call(function, a, b, c) of chip.h: a windowed function called by C. */
    .align 4
    .globl rom_call
rom_call:
    addi a1, a1, -32
    s32i a0, a1, 0              /* what the called function may change, and C expects unchanged */
    s32i a12, a1, 4
    s32i a13, a1, 8
    s32i a14, a1, 12
    s32i a15, a1, 16
    movi a9, saved
    s32i a1, a9, 8              /* stack pointer of C */
    l32i a7, a9, 4
    l32i a1, a9, 0
    mov a10, a3
    mov a11, a4
    mov a12, a5
    wsr a7, ps
    rsync
    .byte 0xe0, 0x02, 0x00      /* callx8 a2 */
    rsil a7, 15
    movi a9, saved
    l32i a1, a9, 8
    mov a2, a10
    l32i a0, a1, 0
    l32i a12, a1, 4
    l32i a13, a1, 8
    l32i a14, a1, 12
    l32i a15, a1, 16
    addi a1, a1, 32
    ret

    .section .bss
    .align 16
saved:
    .space 16                   /* stack pointer and state of the windowed world, stack pointer of C */
    .space 2048
stack_top:
    .space 16
