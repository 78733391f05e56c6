/** `espd show`: the map, why backups were made, and what is noted of them. */

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { ManifestContent } from '../../src/archive/manifest.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, backUp, content, image } from '../archive/support.ts';
import { Bench, assertPlain } from '../support/cli.ts';

const T1 = '2026-11-24T12:00:00.000Z';
const ID1 = '2026-11-24T12-00-00Z';
const T2 = '2026-11-25T12:00:00.000Z';
const ID2 = '2026-11-25T12-00-00Z';
const BLOCK = 65536;

interface ShowJson {
  readonly board: Record<string, unknown>;
  readonly backups: Record<string, unknown>[];
  readonly removed: Record<string, unknown>[];
}

async function keep(bench: Bench, bytes: Buffer, createdAt: string, more: Partial<ManifestContent>): Promise<void> {
  const draft = await bench.archive.begin(MAC, bytes.length);
  await draft.write(0, bytes);
  await draft.commit({ ...content(bytes, createdAt), ...more });
}

const partition = (name: string, offset: number, sizeBytes: number) => {
  return { name, type: 'data', subtype: 'nvs', offset, sizeBytes, encrypted: false };
};

test('the map at 80 columns, with what changed since the backup before', async (t) => {
  const bench = await Bench.open(t);
  const first = Buffer.concat([image(4 * BLOCK), Buffer.alloc(12 * BLOCK, 0xff)]);
  const second = Buffer.from(first);
  second.fill(1, 2 * BLOCK, 2 * BLOCK + 5);
  second.fill(0xff, 3 * BLOCK, 4 * BLOCK);
  const contents = {
    firmware: { name: 'blink', version: '1.0', sdk: null },
    partitions: [
      partition('nvs', 0x9000, 0x5000),
      partition('app0', BLOCK, 7 * BLOCK),
      partition('spiffs', 8 * BLOCK, 8 * BLOCK),
    ],
  };
  await keep(bench, first, T0, { contents, reason: 'plug-in' });
  await keep(bench, second, T1, { contents, reason: 'by-hand' });
  const { status, stdout } = await bench.run(['show', MAC], { tty: true });
  assert.equal(status, 0);
  assert.match(stdout, /\x1b\[33m\*\x1b\[39m/);
  const text = stdout.replace(/\x1b\[\d+m/g, '').replace(/sha256 \S+/g, 'sha256 ...');
  assertPlain(text);
  assert.equal(
    text,
    `${MAC}  ESP8266EX
  ${ID0}  1 MB  blink 1.0
    made when the board was plugged in
    sha256 ...
  ${ID1}  1 MB  blink 1.0
    made by hand
    sha256 ...
    0x000000  ##*_............
              ||app0  |spiffs
    64 KB:  # data  . blank  * changed  _ erased  since ${ID0}
    PARTITION  TYPE      OFFSET   SIZE
    nvs        data/nvs  0x9000   20 KB
    app0       data/nvs  0x10000  448 KB
    spiffs     data/nvs  0x80000  512 KB
`,
  );
  // Of the first one there is nothing to compare with; piped there is no colour.
  const old = await bench.run(['show', `${MAC}@first`]);
  assert.match(old.stdout, /^ {4}0x000000 {2}####\.{12}$/m);
  assert.doesNotMatch(old.stdout, /since|\x1b/);
});

test('label, note, group, pins, reasons, imports and removals are told, for people and scripts', async (t) => {
  const bench = await Bench.open(t);
  const { archive } = bench;
  await backUp(archive, image(8192, 1), T0);
  const imported: Partial<ManifestContent> = {
    ...{ reason: 'imported', confirmed: null, security: null, transfer: null },
    source: { port: null, file: 'fw-backup.bin', usb: null, host: 'bench' },
  };
  await keep(bench, image(8192, 2), T1, imported);
  await keep(bench, image(8192, 3), T2, { reason: 'before-restore' });
  await archive.marks.describe(MAC, { label: 'kitchen', note: 'behind the fridge', group: 'home' });
  await archive.marks.pin(MAC, ID1, { pinned: true, note: 'as it was bought' });
  const before = (await bench.run(['show', 'kitchen'])).stdout;
  assert.match(before, new RegExp(`^${MAC} {2}ESP8266EX {2}"kitchen" {2}group home\n {2}behind the fridge\n`));
  assert.match(before, /pinned: as it was bought\n {4}imported from fw-backup\.bin\n {4}confirmed by no chip\n/);
  assert.match(before, /made before a restore/);
  assert.doesNotMatch(before, /removed/);

  const { manifest } = await archive.resolveBackup(MAC, ID1);
  await archive.marks.confirm(MAC, { at: T2, id: ID1, md5: manifest.image.md5, by: 'stub', port: '/dev/ttyUSB0' });
  // As a removal leaves it (FORMAT.md); one of a backup that is there says nothing.
  const removal = { at: T2, id: ID0, sha256: null, why: 'keepLast: 2', createdBy: 'espd 0.2.0' };
  const lines = [removal, { ...removal, id: ID2 }].map((line) => `${JSON.stringify(line)}\n`);
  await writeFile(join(archive.root, FOLDER, 'removed.jsonl'), lines.join(''));
  await rm(join(archive.root, FOLDER, ID0), { recursive: true });
  const after = (await bench.run(['show', MAC])).stdout;
  assert.match(after, new RegExp(`the chip confirmed it ${T2}`));
  assert.match(after, /1 backup removed: "espd .*show .* --removed" lists them/);
  const listed = (await bench.run(['show', MAC, '--removed'])).stdout;
  assert.match(listed, new RegExp(`1 backup removed:\n {4}BACKUP +REMOVED +WHY\n {4}${ID0} +\\S+Z +keepLast: 2$`, 'm'));

  const { json } = await bench.runJson<ShowJson>(['show', MAC]);
  const { label, note, group } = json.board;
  assert.deepEqual({ label, note, group }, { label: 'kitchen', note: 'behind the fridge', group: 'home' });
  assert.deepEqual(
    json.backups.map(({ id, reason, pinned }) => [id, reason, (pinned as { note: string } | null)?.note ?? null]),
    [
      [ID1, 'imported', 'as it was bought'],
      [ID2, 'before-restore', null],
    ],
  );
  assert.deepEqual(json.backups[0]?.['confirmed'], {
    at: T2,
    id: ID1,
    md5: manifest.image.md5,
    by: 'stub',
    port: '/dev/ttyUSB0',
  });
  assert.deepEqual(
    json.removed.map(({ id, why }) => [id, why]),
    [[ID0, 'keepLast: 2']],
  );
  assert.deepEqual((await bench.runJson<ShowJson>(['show', MAC])).json.board['mac'], MAC);
  await backUp(archive, image(4096), T0, OTHER_MAC);
  assert.deepEqual((await bench.runJson<ShowJson>(['show', OTHER_MAC])).json.removed, []);
});
