/** How the program is compiled and linked. Its bytes depend on this file, on chips.mjs and on src/, nothing else. */

/** Without a C library, and without anything that differs between machines or from one build to the next. */
const FLAGS = [
  ...['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-ffreestanding', '-fno-builtin', '-fno-ident'],
  ...['-fno-asynchronous-unwind-tables', '-fno-jump-tables', '-nostdlib', '-static'],
  ...['-Wl,--build-id=none', '-Wl,--no-warn-rwx-segments'],
];

export const SOURCES = [
  ...['command.c', 'stream.c', 'table.c', 'flash.c', 'frames.c', 'crc32.c', 'deflate.c', 'block.c', 'huffman.c'],
  ...['memory.c'],
];
const SHIM = 'window_shim.S';

/** The chip's facts as macros: see src/chip.h. @param {import('./chips.mjs').Chip} chip @param {number} build */
export function macros(chip, build) {
  return {
    READER_BUILD: build,
    UART0: chip.uart0,
    UART0_TX: chip.uart0Tx ?? chip.uart0,
    ROM_FLASH_READ: chip.flashRead,
    ROM_MD5_INIT: chip.md5[0],
    ROM_MD5_UPDATE: chip.md5[1],
    ROM_MD5_FINAL: chip.md5[2],
    MD5_FINAL_CONTEXT_FIRST: chip.md5ContextFirst ? 1 : 0,
    WINDOWED: chip.toolchain.windowed,
    ...chip.sizes,
  };
}

/** How far back a match reaches: HISTORY_BYTES of src/deflate.h. @param {import('./chips.mjs').Chip['sizes']} sizes */
export function historyBytes(sizes) {
  return sizes.RING_BYTES - sizes.INPUT_BYTES - 272;
}

/** @param {Record<string, number>} values */
export function macroFlags(values) {
  return Object.entries(values).map(
    ([name, value]) => `-D${name}=${value < 0x8000 ? value : `0x${value.toString(16)}u`}`,
  );
}

/**
 * The arguments of the compiler, run in the folder src.
 * @param {import('./chips.mjs').Chip} chip @param {number} build @param {string} script path of the linker script
 * @param {string} elf path of the result
 */
export function compilerArguments(chip, build, script, elf) {
  return [
    ...chip.toolchain.flags,
    chip.tight ? '-Os' : '-O2',
    ...FLAGS,
    ...macroFlags(macros(chip, build)),
    `-Wl,-T,${script}`,
    ...['-o', elf],
    ...SOURCES,
    ...(chip.toolchain.windowed ? [SHIM] : []),
  ];
}

/** The entry points of the program: what the stub calls. @param {import('./chips.mjs').Chip} chip */
export function entrySymbol(chip) {
  return chip.toolchain.windowed ? 'reader_command_windowed' : 'reader_command';
}

/**
 * Code in one piece of memory, constants and variables in another. Everything is padded to whole words: instruction RAM
 * of the Xtensa chips takes nothing else. @param {import('./chips.mjs').Chip} chip
 */
export function linkerScript(chip) {
  const hex = (/** @type {number} */ value) => `0x${value.toString(16)}`;
  return `ENTRY(${entrySymbol(chip)})
SECTIONS {
  . = ${hex(chip.text.address)};
  .text : {
    text_start = .;
    *(.literal .literal.* .text .text.*)
    . = ALIGN(4);
    text_end = .;
  }
  ASSERT(. <= ${hex(chip.text.end)}, "the code does not fit")
  . = ${hex(chip.data.address)};
  .constants : {
    constants_start = .;
    *(.rodata .rodata.* .srodata .srodata.*)
    . = ALIGN(4);
    image_crc = .;
    LONG(0)
  }
  .bss (NOLOAD) : ALIGN(16) {
    bss_start = .;
    *(.bss .bss.* .sbss .sbss.* COMMON)
    . = ALIGN(4);
    bss_end = .;
  }
  ASSERT(. <= ${hex(chip.data.end)}, "the variables do not fit")
  .data : { *(.data .data.* .sdata .sdata.*) }
  ASSERT(SIZEOF(.data) == 0, "a variable has an initial value, which nobody would load again")
  /DISCARD/ : { *(.comment .note* .xt.* .xtensa.info .eh_frame .riscv.attributes) }
}
`;
}
