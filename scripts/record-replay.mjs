/**
 * `npm run record:replay -- FILE`: plays a recording that a person has sent (docs/record.md) to the code of this checkout,
 * and says where it does something else than was done there. Status 1 if it does, 2 if the file is no recording.
 */

import { readFileSync } from 'node:fs';
import { parseRecording } from '../src/transfer/record/format.ts';
import { replayRecording } from '../test/support/replay-recording.ts';

const [path] = process.argv.slice(2);
const say = (line) => process.stdout.write(`${line}\n`);
const cleanUp = [];

/** @returns {Promise<number>} */
async function main() {
  if (path === undefined) {
    process.stderr.write('usage: npm run record:replay -- FILE\n');
    return 2;
  }
  let text;
  try {
    text = readFileSync(path, 'utf8');
    const { header, lines } = parseRecording(text);
    const what = header === null ? 'of another program' : `by espd ${header.espd}, ${header.command}`;
    const payload = header?.payload === true ? 'with' : 'without';
    say(`Recorded ${what}, ${payload} the bytes of flash: ${lines.length} lines`);
  } catch (error) {
    process.stderr.write(`${path}: ${error.message}\n`);
    return 2;
  }
  let isSame = true;
  for (const replayed of await replayRecording({ after: (work) => void cleanUp.push(work) }, text)) {
    const { divergence, done, error, link, recorded, work } = replayed;
    const isWhole = divergence === undefined && done === recorded;
    isSame &&= isWhole;
    say(`Link ${link}, ${work}: ${done} of ${recorded} steps as recorded`);
    if (divergence !== undefined) say(`  from there on otherwise: ${divergence}`);
    else if (!isWhole) say('  then nothing more was done');
    say(error === undefined ? '  it ended well' : `  it ended with ${error.code}: ${error.message}`);
  }
  return isSame ? 0 : 1;
}

try {
  process.exitCode = await main();
} finally {
  for (const work of cleanUp) await work();
}
