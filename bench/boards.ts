/**
 * Simulated boards in a process of their own, so that their work does not count as espd's: `node --import tsx
 * bench/boards.ts COUNT SIZE_MIB APP_BYTES LATENCY_MS` prints one address a line and serves until it is ended. With 0 for
 * APP_BYTES they have firmware, which compresses; else noise.
 */

import { TYPICAL_SPEEDS, createBoard, demoImage, seededRandom } from '../src/simulator/index.ts';
import { firmware } from './firmware.ts';
import { serveRfc2217 } from '../src/simulator/serve/rfc2217.ts';

const [count = 1, sizeMib = 4, appBytes = 1_150_000, latencyMs = 1] = process.argv.slice(2).map(Number);
const MIB = 1024 * 1024;

for (let seed = 1; seed <= count; seed++) {
  const sizeBytes = sizeMib * MIB;
  const content = appBytes === 0 ? firmware(seed, sizeBytes) : noise(seed, sizeBytes);
  const mac = `24:0a:c4:00:01:${seed.toString(16).padStart(2, '0')}`;
  const board = createBoard({
    family: 'esp32',
    mac,
    flashSizeBytes: sizeBytes,
    content,
    line: { latencyMs },
    speeds: { digestBytesPerSecond: 8 * MIB, packetBytesPerSecond: TYPICAL_SPEEDS.packetBytesPerSecond },
  });
  const { address } = await serveRfc2217(board);
  process.stdout.write(`${address}\n`);
}

/** No two boards have a block in common, so that the fleet explains nothing: all that is in use crosses the wire. */
function noise(seed: number, sizeBytes: number): Buffer {
  const content = demoImage({ family: 'esp32', sizeBytes, seed, appBytes: 64 * 1024 });
  seededRandom(seed).bytes(appBytes).copy(content, 0x20000);
  return content;
}
