/**
 * The reader's sources, compiled with the test programs of reader/test: for this machine with sanitizers, and for the chips'
 * processors, to be run by qemu-user. Both run in milliseconds; no board, no emulated chip.
 */

import assert from 'node:assert/strict';
import { execFile, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

export const READER = path.join(import.meta.dirname, '../../reader');

type Sizes = Readonly<
  Record<'RING_BYTES' | 'INPUT_BYTES' | 'HASH_BITS' | 'BLOCK_SYMBOLS' | 'OUTPUT_BYTES' | 'MAX_RUNS', number>
>;

/** What the tests use of reader/chips.mjs. */
export interface ChipTable {
  readonly CHIPS: Readonly<
    Record<string, { readonly sizes: Sizes; readonly toolchain: { readonly compiler: string } }>
  >;
}

export async function chips(): Promise<ChipTable['CHIPS']> {
  const table = (await import(pathToFileURL(path.join(READER, 'chips.mjs')).href)) as ChipTable;
  return table.CHIPS;
}

const COMPRESSOR = ['deflate.c', 'block.c', 'huffman.c'];
const SOURCES = {
  encoder: [...COMPRESSOR, '../test/encoder.c', '../test/io.c'],
  board: [
    ...['command.c', 'stream.c', 'table.c', 'flash.c', 'frames.c', 'crc32.c', ...COMPRESSOR],
    ...['../test/board.c', '../test/md5.c', '../test/io.c'],
  ],
};

const BARE = ['-O2', '-ffreestanding', '-fno-builtin', '-nostdlib', '-static'];
/** Which chip's sizes, which compiler, and what runs the result. */
export const TARGETS = {
  'this machine, sizes of the ESP32-C3': {
    chip: 'esp32c3',
    compile: ['gcc', '-O1', '-DREADER_LIBC', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
    bare: false,
    run: [],
  },
  'this machine, sizes of the ESP8266': {
    chip: 'esp8266',
    compile: ['gcc', '-O1', '-DREADER_LIBC', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
    bare: false,
    run: [],
  },
  'rv32 under qemu-riscv32': {
    chip: 'esp32c3',
    compile: [
      'riscv64-unknown-elf-gcc',
      ...BARE,
      '-march=rv32imc',
      '-mabi=ilp32',
      '-msmall-data-limit=0',
      '-Wl,--no-relax',
    ],
    bare: true,
    run: ['qemu-riscv32'],
  },
  'lx106 under qemu-xtensa': {
    chip: 'esp8266',
    compile: ['xtensa-lx106-elf-gcc', ...BARE, '-mlongcalls', '-mtext-section-literals'],
    bare: true,
    run: ['qemu-xtensa', '-cpu', 'lx106'],
  },
} as const;
export type Target = keyof typeof TARGETS;
export const TARGET_NAMES = Object.keys(TARGETS) as Target[];

function installed(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** Why the target cannot be tested here, or false. */
export function missing(target: Target): string | false {
  const { compile, run } = TARGETS[target];
  const program = [compile[0], ...run.slice(0, 1)].find((name) => !installed(name));
  return program === undefined ? false : `SKIPPED: ${program} is not installed`;
}

export async function sizesOf(target: Target): Promise<Sizes> {
  const sizes = (await chips())[TARGETS[target].chip]?.sizes;
  assert.ok(sizes);
  return sizes;
}

/** HISTORY_BYTES of reader/src/deflate.h. */
export function historyBytes({ RING_BYTES, INPUT_BYTES }: Sizes): number {
  return RING_BYTES - INPUT_BYTES - 272;
}

/** The program built into a folder of its own, as the command that runs it; `remove` afterwards. */
export async function build(
  kind: keyof typeof SOURCES,
  target: Target,
): Promise<{ command: string[]; remove(): void }> {
  const { compile, bare, run } = TARGETS[target];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-reader-'));
  const program = path.join(folder, kind);
  const defined = {
    ...{ READER_ON_HOST: 1, READER_BUILD: 0x12345678, MD5_FINAL_CONTEXT_FIRST: 0, WINDOWED: 0 },
    ...{ ROM_FLASH_READ: 1, ROM_MD5_INIT: 2, ROM_MD5_UPDATE: 3, ROM_MD5_FINAL: 4 },
    ...(await sizesOf(target)),
  };
  const [compiler, ...flags] = compile;
  const sources = [...SOURCES[kind], ...(bare ? ['memory.c'] : [])];
  const macros = Object.entries(defined).map(([name, value]) => `-D${name}=${value}`);
  const warnings = ['-std=gnu11', '-Wall', '-Wextra', '-Werror'];
  await promisify(execFile)(compiler, [...flags, ...warnings, ...macros, '-o', program, ...sources], {
    cwd: path.join(READER, 'src'),
  });
  return { command: [...run, program], remove: () => fs.rmSync(folder, { recursive: true }) };
}

/** Runs it over that input; fails the test if it does not end with 0 and in silence. */
export async function runProgram(command: readonly string[], input: Uint8Array): Promise<Buffer> {
  const [program, ...parameters] = command;
  assert.ok(program);
  // A program that waits for ever is killed, and the signal told.
  const child = spawn(program, parameters, { stdio: 'pipe', timeout: 120_000, killSignal: 'SIGKILL' });
  const out: Buffer[] = [];
  const told: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => told.push(chunk));
  // A program that ends early closes its input; its exit status says why.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const status = await new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(code ?? signal));
  });
  assert.deepEqual([status, Buffer.concat(told).toString()], [0, '']);
  return Buffer.concat(out);
}

export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => bytes.writeUInt32LE(value >>> 0, 4 * index));
  return bytes;
}
