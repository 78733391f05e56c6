/** Flash as boards have it, for benchmarks. */

import { demoImage, seededRandom } from '../src/simulator/index.ts';

/** Of the app in {@link firmware}: with it 1.2 MB are in use. */
export const APP_BYTES = 1_150_000;
/** Of the app's code, behind its headers and its description. */
const APP_OFFSET = 0x10400;

/** A demo board's flash with an app that zlib deflates to 0.61, as it does the average of 13 real images. */
export function firmware(seed: number, sizeBytes: number): Buffer {
  const content = demoImage({ family: 'esp32', seed, sizeBytes, appBytes: APP_BYTES });
  const random = seededRandom(1);
  const vocabulary = Uint32Array.from({ length: 512 }, () => random.word());
  const app = new Uint32Array(APP_BYTES / 4 - 1024);
  for (let word = 0; word < app.length; word++) {
    app[word] = random.below(100) < 22 ? random.word() : (vocabulary[random.below(512)] ?? 0);
  }
  Buffer.from(app.buffer).copy(content, APP_OFFSET);
  return content;
}
