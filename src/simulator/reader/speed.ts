/**
 * How long the reader's work takes a chip, in cycles a byte of flash: from the trial in emulation (200 to 230
 * instructions for firmware, 159 to 191 with one candidate, 48 for blank flash), reasoned and not measured on silicon: an
 * ESP8266 at 52 MHz comes to 125 kB/s with these.
 */

const CYCLES = { 0: 45, 1: 350, 2: 420, 3: 600 } as const;
const CYCLES_BLANK = 100;
const CHUNK_BYTES = 1024;

export type Level = keyof typeof CYCLES;

export function isLevel(level: number): level is Level {
  return level in CYCLES;
}

/** For each KiB of the input, the time from the start at which it is done, in ms. */
export function workMs(input: Buffer, level: Level, cpuMHz: number): Float64Array {
  const done = new Float64Array(Math.ceil(input.length / CHUNK_BYTES) + 1);
  if (cpuMHz === 0) return done;
  for (let chunk = 0; chunk < done.length - 1; chunk++) {
    const bytes = input.subarray(chunk * CHUNK_BYTES, (chunk + 1) * CHUNK_BYTES);
    const cycles = level > 0 && bytes.every((byte) => byte === bytes[0]) ? CYCLES_BLANK : CYCLES[level];
    done[chunk + 1] = (done[chunk] ?? 0) + (bytes.length * cycles) / (cpuMHz * 1000);
  }
  return done;
}

/** When `bytes` of the input are done. */
export function doneAt(done: Float64Array, bytes: number): number {
  return done[Math.min(done.length - 1, Math.ceil(bytes / CHUNK_BYTES))] ?? 0;
}
