/** Everything that can go wrong on the wire and on the board, at every point of a job. */

import fc from 'fast-check';
import { OPCODE } from '../../src/simulator/index.ts';
import type { Fault, SimulatedBoard } from '../../src/simulator/index.ts';

type Direction = 'to-board' | 'to-host';
type When =
  { readonly direction: Direction; readonly byte: number } | { readonly opcode: number; readonly nth: number };

/** What a job does when nothing goes wrong: the points at which a fault may strike. */
export interface Course {
  /** How often each command was given. */
  readonly commands: ReadonlyMap<number, number>;
  /** Bytes that crossed the wire. */
  readonly bytes: Readonly<Record<Direction, number>>;
}

/** The course of `work` on `board`. */
export async function courseOf(board: SimulatedBoard, work: () => Promise<unknown>): Promise<Course> {
  const before = { commands: board.commands.length, ...board.wireBytes };
  await work();
  const commands = new Map<number, number>();
  for (const { opcode } of board.commands.slice(before.commands)) {
    commands.set(opcode, (commands.get(opcode) ?? 0) + 1);
  }
  const { toBoard, toHost } = board.wireBytes;
  return { commands, bytes: { 'to-board': toBoard - before.toBoard, 'to-host': toHost - before.toHost } };
}

const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(OPCODE).map(([name, opcode]) => [opcode, name]));

/** Faults by name, each made to strike at a given point. */
export const LASTING: Readonly<Record<string, (when: When) => Fault>> = {
  'a stall of 2 s': (when) => ({ kind: 'stall', durationMs: 2000, when }),
  'a stall of 30 s': (when) => ({ kind: 'stall', durationMs: 30_000, when }),
  'a reset': (when) => ({ kind: 'reset', when }),
  'a pulled cable': (when) => ({ kind: 'vanish', when }),
  silence: (when) => ({ kind: 'mute', when }),
  'a flood of 3 s': (when) => ({ kind: 'flood', durationMs: 3000, when }),
  'a flood of a minute': (when) => ({ kind: 'flood', durationMs: 60_000, when }),
  garbage: (when) => ({ kind: 'garbage', when }),
  'wrong digests': (when) => ({ kind: 'wrong-digest', when }),
  'wrong digests of reads': (when) => ({ kind: 'wrong-digest', of: 'read', when }),
  'wrong digests of regions': (when) => ({ kind: 'wrong-digest', of: 'md5', when }),
  'a flash cell read wrong': (when) => ({ kind: 'read-flip', address: 0x3004, when }),
  'no stub': (when) => ({ kind: 'no-stub', when }),
  'no answer in download mode': (when) => ({ kind: 'no-sync', when }),
  'no way into download mode': (when) => ({ kind: 'wrong-boot-mode', when }),
  'a bridge that loses bytes': (when) => ({ kind: 'loses-above', baudRate: 230400, every: 700, when }),
  'a bridge that loses bytes at any rate': (when) => ({ kind: 'loses-above', baudRate: 0, every: 3000, when }),
};

export interface FaultCase {
  readonly name: string;
  readonly fault: Fault;
}

/** Each fault just before the first, a middle and the last of each kind of command. */
export function faultsByCommand(course: Course): FaultCase[] {
  return atEachCommand(course, Object.keys(LASTING));
}

/** Faults that are over soon and after which a board can go on as before. */
export function passingFaults(course: Course): FaultCase[] {
  return atEachCommand(course, ['a stall of 2 s', 'a reset', 'a flood of 3 s', 'a bridge that loses bytes']);
}

function atEachCommand({ commands }: Course, names: readonly string[]): FaultCase[] {
  const cases: FaultCase[] = [];
  for (const [opcode, count] of commands) {
    for (const nth of new Set([1, Math.ceil(count / 2), count])) {
      for (const name of names) {
        const at = `${NAMES.get(opcode) ?? opcode} ${nth} of ${count}`;
        cases.push({ name: `${name} at ${at}`, fault: LASTING[name]!({ opcode, nth }) });
      }
    }
  }
  return cases;
}

/** Faults at any byte of either direction: bytes lost, changed or doubled, once or again and again; and the lasting ones. */
export function faultsByByte({ bytes }: Course): fc.Arbitrary<FaultCase> {
  const place = fc.constantFrom<Direction[]>('to-board', 'to-host').chain((direction) =>
    fc.oneof(
      fc.nat(bytes[direction] + 50).map((byte) => ({ direction, byte })),
      // Most of the conversation lies in the first and last few thousand bytes.
      fc.nat(4000).map((byte) => ({ direction, byte })),
      fc.nat(1500).map((byte) => ({ direction, byte: Math.max(0, bytes[direction] - byte) })),
    ),
  );
  const damage = fc
    .record({
      kind: fc.constantFrom('drop', 'flip', 'duplicate'),
      place,
      count: fc.oneof(fc.constant(1), fc.integer({ min: 2, max: 300 })),
      every: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 1, arbitrary: fc.integer({ min: 900, max: 50_000 }) },
      ),
    })
    .map(({ kind, place: { direction, byte }, count, every }): FaultCase => {
      const fault = { kind, direction, byte, count, ...(every === 0 ? {} : { every }) };
      return { name: JSON.stringify(fault), fault };
    });
  const lasting = fc
    .record({ name: fc.constantFrom(...Object.keys(LASTING)), place })
    .map(({ name, place: when }): FaultCase => {
      return { name: `${name} at byte ${when.byte} ${when.direction}`, fault: LASTING[name]!(when) };
    });
  return fc.oneof({ weight: 2, arbitrary: damage }, { weight: 1, arbitrary: lasting });
}
