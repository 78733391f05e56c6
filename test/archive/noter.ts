/**
 * A process that notes of one board what lies in a store, until it is killed: `noter.ts ROOT FROM`. Says `ready`, then
 * `note DAY` and `gone DAY` when that is written. With `compact` in place of FROM it makes the file shorter, again and again.
 */

import { compact } from '../../src/archive/elsewhere/compaction.ts';
import { boardOf, diskOf, goneOf, logAt, noted } from './elsewhere/compaction-support.ts';
import { MAC } from './support.ts';

const [root = '', from = ''] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

say('ready');
if (from === 'compact') {
  for (;;) if (await compact(diskOf(), boardOf(root), MAC).catch(() => false)) say('shorter');
}
const log = logAt(root, 20_000);
for (let day = Number(from); ; day++) {
  await log.add(noted(day));
  say(`note ${day}`);
  await log.add(goneOf(day - 2));
  say(`gone ${day - 2}`);
}
