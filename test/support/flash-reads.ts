/** Whether a board's flash has been asked for, in whichever way espd reads: through the stub, or through its reader. */

import { OPCODE } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';

/** STREAM of the reader, and the flag of its self-test, which reads no flash: `reader/PROTOCOL.md`. */
const STREAM = 0xe2;
const FLAGS_AT = 8;
const PATTERN = 2;

export function isRead({ commands }: Pick<SimulatedBoard, 'commands'>): boolean {
  return commands.some(
    ({ opcode, payload }) =>
      opcode === OPCODE.readFlash || (opcode === STREAM && (payload.readUInt32LE(FLAGS_AT) & PATTERN) === 0),
  );
}
