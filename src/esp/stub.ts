/**
 * The flasher stub: Espressif's small program for the chip's RAM that reads, hashes and writes flash quickly. Its
 * images are data of the npm package `esptool-js` (Apache-2.0 or MIT), read at run time.
 */

import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { EspdError } from '../errors.ts';
import type { StubStart } from './chips/chip.ts';
import { Loader } from './loader.ts';
import { OPCODE, decodeResponse, encodeRequest, words } from './protocol.ts';
import { type RamSegment, uploadToRam } from './ram-upload.ts';

export interface StubImage {
  readonly entry: number;
  /** Pieces of memory to fill before the entry is called. */
  readonly segments: readonly RamSegment[];
}

/** Largest block of MEM_DATA that every ROM takes (protocol page: ESP_RAM_BLOCK). */
export const MEM_BLOCK_BYTES = 0x1800;
/** What the stub sends as its first frame. */
const GREETING = 'OHAI';
const GREETING_TIMEOUT_MS = 3000;

/**
 * The stub of that name (`esp32c3`) out of the package.
 * @throws EspdError `stub-failed` when the package has none or it is malformed
 */
export async function loadStubImage(name: string): Promise<StubImage> {
  try {
    const packageEntry = createRequire(import.meta.url).resolve('esptool-js');
    const file = join(dirname(packageEntry), 'targets', 'stub_flasher', `${name}.json`);
    return parseStubImage(JSON.parse(await readFile(file, 'utf8')));
  } catch (error) {
    throw new EspdError('stub-failed', `The package esptool-js has no usable flasher stub "${name}"`, {
      cause: error,
      hint: 'Install espd again: its package esptool-js is missing or damaged',
    });
  }
}

/** @throws TypeError for anything that is not such a document */
export function parseStubImage(document: unknown): StubImage {
  const fields = document as Record<string, unknown>;
  const address = (key: string) => {
    const value = fields[key];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0) throw new TypeError(`no ${key}`);
    return value;
  };
  const segment = (key: string) => {
    const value = fields[key];
    if (typeof value !== 'string') throw new TypeError(`no ${key}`);
    return { address: address(`${key}_start`), bytes: Buffer.from(value, 'base64') };
  };
  const segments = [segment('text')];
  if (typeof fields['data'] === 'string' && fields['data'] !== '') segments.push(segment('data'));
  return { entry: address('entry'), segments };
}

export interface StubOptions {
  readonly start: Exclude<StubStart, { kind: 'none' }>;
  /** Bytes of one MEM_DATA, at most {@link MEM_BLOCK_BYTES}. */
  readonly blockBytes: number;
}

/**
 * Loads the stub into the chip's RAM through its ROM and starts it.
 *
 * @returns the loader that now answers
 * @throws EspdError `stub-failed` when the chip takes the image but the stub does not report; errors of the link
 */
export async function startStub(rom: Loader, image: StubImage, options: StubOptions): Promise<Loader> {
  const { blockBytes, start } = options;
  await uploadToRam(rom, image.segments, blockBytes);
  if (start.kind === 'entry') {
    await rom.channel.send(encodeRequest(OPCODE.MEM_END, words(0, image.entry)));
    await expectGreeting(rom);
    return stubLoader(rom);
  }
  // The ROM that refuses to jump is led there by the pointer that it calls to read flash: see StubStart.
  await rom.command(OPCODE.MEM_END, words(1, 0));
  const pointer = await rom.readRegister(start.pointerAddress);
  await rom.writeRegister(start.pointerAddress, image.entry);
  await rom.channel.send(encodeRequest(OPCODE.READ_FLASH_SLOW, words(0, 0)));
  await expectGreeting(rom);
  const stub = stubLoader(rom);
  await stub.writeRegister(start.pointerAddress, pointer);
  return stub;
}

function stubLoader(rom: Loader): Loader {
  const stub = new Loader(rom.channel, rom.context, 'stub', 2);
  stub.retries = rom.retries;
  return stub;
}

/** Only the greeting counts: some ROMs jump into the stub before their reply to MEM_END has left. */
async function expectGreeting(rom: Loader): Promise<void> {
  const { clock, signal } = rom.context;
  const deadline = clock.now() + GREETING_TIMEOUT_MS;
  for (;;) {
    const remainingMs = deadline - clock.now();
    const frame = remainingMs <= 0 ? null : await rom.channel.receive(remainingMs, signal);
    if (frame === null) break;
    if (frame.toString('latin1') === GREETING) return;
    if (decodeResponse(frame, rom.statusBytes)?.failed === true) break;
  }
  throw new EspdError('stub-failed', 'The flasher stub was loaded but did not start');
}
