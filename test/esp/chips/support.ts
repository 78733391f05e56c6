/** Register spaces for the tests of the chip values. */

import { readFileSync } from 'node:fs';
import type { RegisterAccess } from '../../../src/esp/chips/chip.ts';
import { parseSecurityInfo } from '../../../src/esp/security-info.ts';

/** Words by address; what is not there reads 0. Remembers every access. */
export class FakeRegisters implements RegisterAccess {
  readonly words: Map<number, number>;
  readonly reads: number[] = [];
  readonly writes: [address: number, value: number][] = [];

  constructor(words: Iterable<readonly [number, number]> = []) {
    this.words = new Map(words);
  }

  read(address: number): Promise<number> {
    this.reads.push(address);
    return Promise.resolve(this.words.get(address) ?? 0);
  }

  write(address: number, value: number): Promise<void> {
    this.writes.push([address, value]);
    this.words.set(address, value);
    return Promise.resolve();
  }
}

/** Any address reads an arbitrary word, the same one each time. */
export function arbitraryRegisters(seed: number): FakeRegisters {
  const registers = new FakeRegisters();
  registers.read = (address) => {
    registers.reads.push(address);
    // Knuth's multiplicative hash: words that differ wildly from address to address.
    const word = registers.words.get(address) ?? Math.imul(address ^ seed, 2654435761) >>> 0;
    return Promise.resolve((word ^ (word >>> 15)) >>> 0);
  };
  return registers;
}

interface TraceLine {
  readonly dir: string;
  readonly kind: string;
  readonly name?: string;
  readonly hex: string;
}

function traceLines(name: string): TraceLine[] {
  const text = readFileSync(new URL(`../../traces/${name}.jsonl`, import.meta.url), 'utf8');
  const lines = text.split('\n').filter((line) => line !== '');
  return lines.map((line) => JSON.parse(line) as TraceLine);
}

/**
 * The registers of the chip in a recorded conversation: what its READ_REG answers said. Reading one that was never
 * asked for is an error, so that the chip values are seen to need no more than esptool.
 */
export function registersOfTrace(name: string): FakeRegisters {
  const registers = new FakeRegisters();
  let asked: number | undefined;
  for (const { dir, kind, name: command, hex } of traceLines(name)) {
    const frame = Buffer.from(hex, 'hex');
    if (dir === 'host' && kind === 'cmd') asked = command === 'READ_REG' ? frame.readUInt32LE(8) : undefined;
    if (dir !== 'chip' || kind !== 'rsp' || command !== 'READ_REG' || asked === undefined) continue;
    registers.words.set(asked, frame.readUInt32LE(4));
    asked = undefined;
  }
  const read = registers.read.bind(registers);
  registers.read = (address) => {
    if (registers.words.has(address)) return read(address);
    return Promise.reject(new Error(`0x${address.toString(16)} is not in trace ${name}`));
  };
  return registers;
}

/** What GET_SECURITY_INFO said in a recorded conversation with a ROM (its status has four bytes). */
export function securityInfoOfTrace(name: string): ReturnType<typeof parseSecurityInfo> {
  const answer = traceLines(name).find((line) => line.dir === 'chip' && line.name === 'GET_SECURITY_INFO');
  if (answer === undefined) throw new Error(`no GET_SECURITY_INFO in trace ${name}`);
  return parseSecurityInfo(Buffer.from(answer.hex, 'hex').subarray(8, -4));
}
