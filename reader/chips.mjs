/**
 * What the program needs to know of each chip: where it may lie beside the stub, and where the ROM has what it calls.
 *
 * Sources:
 * - ROM functions and UART0: esp-stub-lib (b8f78b2), `src/target/<chip>/ld/*.ld` and `include/soc/`,
 *   https://github.com/espressif/esp-stub-lib/tree/b8f78b2a858d342d8605e9a55835cd2ef0825c69. The stub calls the same.
 * - Memory of the stub: its image in the npm package esptool-js (begin of text, data and bss), and its linker scripts,
 *   https://github.com/espressif/esp-flasher-stub/tree/fc713a4d1176d50385209073223d5a4676ec18f3/src/ld.
 * - Memory of the ROM (its stack ends the room): comments in the bootloader's linker files of ESP-IDF,
 *   `components/bootloader/subproject/main/ld/<chip>/`.
 *
 * Run on real ROM code, in emulation: esp32, esp32c3. The others were compiled, and their addresses compared with the
 * sources, no more.
 */

/** RISC-V without floating point and atomics: every chip of the family can run it. */
const RISCV = {
  compiler: 'riscv64-unknown-elf-gcc',
  flags: ['-march=rv32imc', '-mabi=ilp32', '-msmall-data-limit=0'],
  windowed: 0,
};
/** Calls without windows, as the ESP8266 has them. */
const CALL0 = {
  compiler: 'xtensa-lx106-elf-gcc',
  flags: ['-mlongcalls', '-mtext-section-literals'],
  windowed: 0,
};
/** The same compiler for the Xtensa chips with windows: src/window_shim.S leads from one to the other. */
const WINDOWED = { ...CALL0, windowed: 1 };

/**
 * Sizes of the compressor, in about 150, 100 and 32 KB of RAM. Of 15 MB of firmware (used sectors of eleven public images)
 * level 2 makes 0.651, 0.656 and 0.684; zlib 0.675 at level 1, 0.658 at level 6.
 */
const LARGE = {
  RING_BYTES: 32768,
  INPUT_BYTES: 1024,
  HASH_BITS: 12,
  BLOCK_SYMBOLS: 4096,
  OUTPUT_BYTES: 16384,
  MAX_RUNS: 512,
};
const MEDIUM = { ...LARGE, RING_BYTES: 16384 };
const SMALL = {
  RING_BYTES: 4096,
  INPUT_BYTES: 256,
  HASH_BITS: 10,
  BLOCK_SYMBOLS: 1536,
  OUTPUT_BYTES: 4096,
  MAX_RUNS: 128,
};

const UART0 = 0x60000000;

/**
 * @typedef {object} Chip
 * @property {typeof RISCV} toolchain
 * @property {{ address: number, end: number }} text where code may lie
 * @property {{ address: number, end: number }} data where constants and variables may lie
 * @property {typeof LARGE} sizes
 * @property {number} uart0 its registers
 * @property {number} [uart0Tx] where bytes to send are written, if not there
 * @property {number} flashRead esp_rom_spiflash_read (address, buffer, bytes)
 * @property {readonly [number, number, number]} md5 MD5Init, MD5Update, MD5Final
 * @property {boolean} [tight] there is room for the smallest code only: 15 % less, and slower
 * @property {boolean} [md5ContextFirst] the last takes (context, digest), not (digest, context)
 */

/** By the name of the stub image. @type {Readonly<Record<string, Chip>>} */
export const CHIPS = {
  // Constants and variables lie in the stub's inflate window (32,768 bytes from 0x3ffe812c), idle while nothing is
  // written.
  esp8266: {
    toolchain: CALL0,
    text: { address: 0x40100000, end: 0x40108000 },
    data: { address: 0x3ffe8130, end: 0x3fff012c },
    sizes: SMALL,
    uart0: UART0,
    flashRead: 0x40004b1c,
    md5: [0x40009818, 0x40009834, 0x40009900],
  },
  esp32: {
    toolchain: WINDOWED,
    text: { address: 0x40090000, end: 0x400a0000 },
    data: { address: 0x3ffb0000, end: 0x3ffcc000 },
    sizes: MEDIUM,
    uart0: 0x3ff40000,
    // The FIFO is written by the other bus, as in ESP-IDF, esp_hal_uart/esp32/include/hal/uart_ll.h (UART_FIFO_AHB_REG).
    uart0Tx: 0x60000000,
    flashRead: 0x40062ed8,
    md5: [0x4005da7c, 0x4005da9c, 0x4005db1c],
  },
  esp32s2: {
    toolchain: WINDOWED,
    text: { address: 0x4002a000, end: 0x40030000 },
    data: { address: 0x3ffe2ea0, end: 0x3fffc410 },
    sizes: { ...MEDIUM, OUTPUT_BYTES: 8192 },
    uart0: UART0,
    flashRead: 0x4001728c,
    md5: [0x4000526c, 0x4000528c, 0x4000530c],
  },
  // Code is the same memory as data, at 0x6f0000 more. No NAND plugin is loaded.
  esp32s3: {
    toolchain: WINDOWED,
    text: { address: 0x403a3000, end: 0x403a6000 },
    data: { address: 0x3fcb6000, end: 0x3fce9704 },
    sizes: LARGE,
    uart0: UART0,
    flashRead: 0x40000a20,
    md5: [0x40001c5c, 0x40001c68, 0x40001c74],
  },
  esp32c2: {
    toolchain: RISCV,
    text: { address: 0x40382000, end: 0x40384000 },
    data: { address: 0x3fcb6e40, end: 0x3fcdcb70 },
    tight: true,
    sizes: MEDIUM,
    uart0: UART0,
    flashRead: 0x4000013c,
    md5: [0x40002be4, 0x40002be8, 0x40002bec],
    // mbedtls_md5_..._ret, not the MD5... of the others (esp-stub-lib, src/target/esp32c2/src/md5.c).
    md5ContextFirst: true,
  },
  // Code is the same memory as data, at 0x700000 more.
  esp32c3: {
    toolchain: RISCV,
    text: { address: 0x403a0000, end: 0x403a4000 },
    data: { address: 0x3fca4000, end: 0x3fccae00 },
    sizes: LARGE,
    uart0: UART0,
    flashRead: 0x40000130,
    md5: [0x40000614, 0x40000618, 0x4000061c],
  },
  esp32c5: {
    toolchain: RISCV,
    text: { address: 0x40802000, end: 0x40806000 },
    data: { address: 0x40806000, end: 0x40840000 },
    sizes: LARGE,
    uart0: UART0,
    flashRead: 0x40000160,
    md5: [0x40000798, 0x4000079c, 0x400007a0],
  },
  esp32c6: {
    toolchain: RISCV,
    text: { address: 0x40802000, end: 0x40806000 },
    data: { address: 0x40806000, end: 0x40840000 },
    sizes: LARGE,
    uart0: UART0,
    flashRead: 0x40000150,
    md5: [0x4000074c, 0x40000750, 0x40000754],
  },
  esp32c61: {
    toolchain: RISCV,
    text: { address: 0x40802000, end: 0x40804000 },
    data: { address: 0x40817000, end: 0x40838000 },
    tight: true,
    sizes: MEDIUM,
    uart0: UART0,
    flashRead: 0x40000160,
    md5: [0x4000077c, 0x40000780, 0x40000784],
  },
  esp32h2: {
    toolchain: RISCV,
    text: { address: 0x40802000, end: 0x40805000 },
    data: { address: 0x40805000, end: 0x40830000 },
    sizes: LARGE,
    uart0: UART0,
    flashRead: 0x40000148,
    md5: [0x40000718, 0x4000071c, 0x40000720],
  },
  // Small, since only this much is known to be free. Its memory is cached: whether code that was just loaded is seen
  // has been tried nowhere.
  esp32p4: {
    toolchain: RISCV,
    text: { address: 0x4ff54000, end: 0x4ff57000 },
    data: { address: 0x4ff57000, end: 0x4ff60000 },
    sizes: SMALL,
    uart0: 0x500ca000,
    flashRead: 0x4fc00158,
    md5: [0x4fc005e0, 0x4fc005e4, 0x4fc005e8],
  },
  'esp32p4-rev1': {
    toolchain: RISCV,
    text: { address: 0x4ff14000, end: 0x4ff18000 },
    data: { address: 0x4ff18000, end: 0x4ff50000 },
    sizes: LARGE,
    uart0: 0x500ca000,
    flashRead: 0x4fc00158,
    md5: [0x4fc005ec, 0x4fc005f0, 0x4fc005f4],
  },
};
