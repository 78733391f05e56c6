/**
 * Makes one backup, as a process that can be killed: `maker.js {"archivePath", "mac", "seed", "sizeBytes", "createdAt", "host"}`.
 * A board that sends so much would take too long. Says its id.
 */

import type { Mac } from '../../../src/mac.ts';
import { archiveAt, content, image } from '../../archive/support.ts';

const { archivePath, mac, seed, sizeBytes, createdAt, host } = JSON.parse(process.argv[2] ?? '') as {
  readonly archivePath: string;
  readonly mac: Mac;
  readonly seed: number;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly host: string;
};
const archive = archiveAt(archivePath, { compression: seed % 3 === 0 ? 'gzip' : 'none' });
const bytes = image(sizeBytes, seed);
const draft = await archive.begin(mac, bytes.length);
for (let at = 0; at < bytes.length; at += 64 * 1024) await draft.write(at, bytes.subarray(at, at + 64 * 1024));
const facts = content(bytes, createdAt, mac);
const { id } = await draft.commit({ ...facts, source: { ...facts.source, host } });
process.stdout.write(`${id}\n`);
