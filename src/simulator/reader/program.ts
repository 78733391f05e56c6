/**
 * What a simulated chip makes of a program in its RAM. It cannot run machine code: it knows the readers that were built
 * with espd by their bytes, and behaves as `reader/PROTOCOL.md` says of them. Anything else it cannot run either, and hangs.
 */

import { readFileSync } from 'node:fs';
import type { Family } from '../chips/model.ts';
import type { Ram } from '../ram.ts';
import { crcOf } from './checks.ts';

/** Of `reader/built/<stub>.json`, what is needed here. */
export interface BuiltReader {
  readonly build: number;
  readonly crc32: number;
  readonly historyBytes: number;
  readonly maxRuns: number;
  readonly slots: readonly { readonly opcode: number; readonly address: number; readonly value: number }[];
  readonly segments: readonly { readonly address: number; readonly dataBase64: string }[];
}

/** The stub's table of handlers for opcodes from D5 on (stub images of esptool-js 0.7.0: 27 equal words in `.data`). */
const TABLES: Readonly<Partial<Record<Family, number>>> = {
  esp8266: 0x3fffaf74,
  esp32: 0x3ffdedd4,
  esp32s2: 0x3ffe2e28,
  esp32s3: 0x3fcb2e5c,
  esp32c2: 0x3fcb6dcc,
  esp32c3: 0x3fc96dc8,
  esp32c5: 0x40852f78,
  esp32c6: 0x40852f78,
  esp32c61: 0x40816dc8,
  esp32h2: 0x40842dc8,
  esp32p4: 0x4ff72e18,
};
const FIRST_OPCODE = 0xd5;
const LAST_OPCODE = 0xef;

/** `none`: nobody has taken the slot; `damaged`: what lies there finds itself damaged; `rubbish`: the CPU is lost. */
export type Handler = BuiltReader | 'none' | 'damaged' | 'rubbish';

/** Who answers a command that the stub itself does not know. */
export function handlerOf(ram: Ram, family: Family, opcode: number, built: BuiltReader | undefined): Handler {
  const table = TABLES[family];
  if (table === undefined || opcode < FIRST_OPCODE || opcode > LAST_OPCODE) return 'none';
  const pointer = ram.word(table + 4 * (opcode - FIRST_OPCODE));
  if (pointer === undefined || pointer === ram.word(table + 4 * (LAST_OPCODE - FIRST_OPCODE))) return 'none';
  const slot = built?.slots.find((each) => each.opcode === opcode);
  if (built === undefined || slot?.value !== pointer) return 'rubbish';
  return isWhole(ram, built) ? built : 'damaged';
}

function isWhole(ram: Ram, { segments, crc32 }: BuiltReader): boolean {
  const parts: Buffer[] = [];
  for (const { address, dataBase64 } of segments) {
    const part = ram.bytes(address, Buffer.from(dataBase64, 'base64').length);
    if (part === undefined) return false;
    parts.push(part);
  }
  const program = Buffer.concat(parts);
  return crcOf(program.subarray(0, -4)) === crc32 && program.readUInt32LE(program.length - 4) === crc32;
}

/** The reader that was built for a chip; undefined where there is none. */
export function builtReader(family: Family): BuiltReader | undefined {
  try {
    const file = new URL(`../../../reader/built/${family}.json`, import.meta.url);
    return JSON.parse(readFileSync(file, 'utf8')) as BuiltReader;
  } catch {
    return undefined;
  }
}
