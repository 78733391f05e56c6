/**
 * A process that reads a board and does not come to the end: `breaker.ts ROOT MAC SIZE FROM COUNT`. Writes sectors of
 * the draft from number FROM on, says each one when it is written, and sets the draft aside after COUNT of them.
 */

import { parseMac } from '../../src/mac.ts';
import { archiveAt, image } from './support.ts';

const [root = '', macText = '', size = '0', from = '0', count = '0'] = process.argv.slice(2);
const mac = parseMac(macText);
if (mac === undefined) throw new Error('no MAC');
const flash = image(Number(size));
const draft = await archiveAt(root).begin(mac, flash.length);
const sectors = flash.length / 4096;
for (let done = 0; done < Number(count); done++) {
  const sector = (Number(from) + done) % sectors;
  await draft.write(sector * 4096, flash.subarray(sector * 4096, (sector + 1) * 4096));
  process.stdout.write(`${sector}\n`);
}
await draft.setAside();
