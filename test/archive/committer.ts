/**
 * A process that commits backups until it is killed, or a given number of them: `committer.ts ROOT MAC COMPRESSION COUNT SEED`.
 * Says `ready`, then the id of each backup, a line each.
 */

import { parseMac } from '../../src/mac.ts';
import { archiveAt, backUp, image } from './support.ts';

const [root = '', macText = '', compression, count = '0', seed = '0'] = process.argv.slice(2);
const mac = parseMac(macText);
if (mac === undefined) throw new Error('no MAC');
const archive = archiveAt(root, { compression: compression === 'gzip' ? 'gzip' : 'none' });
process.stdout.write('ready\n');
for (let index = 0; index < Number(count); index++) {
  const bytes = image(150_000, Number(seed) * 1000 + index);
  const { id } = await backUp(archive, bytes, '2026-11-23T10:00:00.000Z', mac);
  process.stdout.write(`${id}\n`);
}
