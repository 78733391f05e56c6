/**
 * A process that imports until it is killed: `importer.mjs ROOT FOLDER MAC SEED COUNT`. It is the command of the built program
 * without its command line, which would take most of the time. Says `ready`, then the id of each backup, a line each.
 */

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openArchive } from '../../dist/archive/archive.js';
import { importDumps } from '../../dist/cli/import/import.js';
import { Output } from '../../dist/cli/output.js';
import { localFiles } from '../../dist/client/local-files.js';
import { systemClock } from '../../dist/clock.js';
import { silentLogger } from '../../dist/log.js';

const [root = '', folder = '', mac = '', seed = '0', count = '1'] = process.argv.slice(2);
const say = (text) => process.stdout.write(`${text}\n`);
const archive = openArchive(root, {
  log: silentLogger,
  clock: systemClock,
  compression: Number(seed) % 2 === 0 ? 'none' : 'gzip',
  createdBy: 'espd 0.0.0-test',
});
const stdout = { write: (text) => JSON.parse(text).imported.forEach(({ id }) => say(id)) };
const out = new Output({ stdout, stderr: process.stderr }, { json: true, color: false });
const context = {
  ...{ archive, out, files: localFiles, clock: systemClock, signal: new AbortController().signal },
  onMark: () => undefined,
};

/** 256 KiB, of which no two are the same, and gzip finds nothing in them. */
function dump(number) {
  const bytes = Buffer.alloc(256 * 1024);
  let state = (Number(seed) * 1000 + number) >>> 0;
  for (let index = 0; index < bytes.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

const file = join(folder, `dump-${seed}.bin`);
say('ready');
for (let number = 0; number < Number(count); number++) {
  await writeFile(file, dump(number));
  const error = await importDumps(context, [file], { mac, at: new Date(1.6e12), chip: 'esp32', dryRun: false });
  if (error !== undefined) throw error;
}
