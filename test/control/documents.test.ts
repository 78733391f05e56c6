/** Documents of commands that the API hands out, held against what OpenAPI says of them: images of many kinds, marks, damage. */

import assert from 'node:assert/strict';
import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { z } from 'zod';
import { boardAnswer, boardsAnswer } from '../../src/control/contract/answers.ts';
import { contentsAnswer, diffAnswer, retentionAnswer } from '../../src/control/contract/content-answers.ts';
import { FOLDER, ID0, MAC, OTHER_MAC, T0, archiveAt, content } from '../archive/support.ts';
import { MIB, type Row, esp32App, esp32Bootloader, flashWith, otaRecord, tableSector } from '../firmware/builder.ts';
import { fixtureImage } from '../firmware/filesystems/fixtures.ts';
import { namespace, page, string, u8 } from '../firmware/nvs-builder.ts';
import { Bench } from '../support/cli.ts';
import { untold } from './answers.ts';

const LATER = ['2026-11-24T10:00:00.000Z', '2026-11-25T10:00:00.000Z', '2026-11-26T10:00:00.000Z'] as const;
const TABLE: readonly Row[] = [
  { label: 'nvs', type: 1, subtype: 2, offset: 0x9000, size: 0x4000 },
  { label: 'otadata', type: 1, subtype: 0, offset: 0xd000, size: 0x2000 },
  { label: 'ota_0', type: 0, subtype: 0x10, offset: 0x10000, size: 0x30000 },
  { label: 'ota_1', type: 0, subtype: 0x11, offset: 0x40000, size: 0x30000 },
  { label: 'storage', type: 1, subtype: 0x82, offset: 0x80000, size: 0x40000 },
];
const moved = TABLE.map((row) => (row.label === 'storage' ? { ...row, offset: 0xc0000, size: 0x20000 } : row));
const settings = (count: number) =>
  page([...namespace(1, 'app'), ...u8(1, 'count', count), ...string(1, count > 1 ? 'name' : 'wifi_pass', 'hunter22')]);
const LITTLEFS = fixtureImage('littlefs-2.1-4096.bin');
/** An app that says what it is, in either slot; settings; files; then other ones, a table that changed, and ciphertext. */
const IMAGES = [
  flashWith(MIB, [
    [0x1000, esp32Bootloader()],
    [0x8000, tableSector(TABLE)],
    [0x9000, settings(1)],
    [0xd000, otaRecord(1)],
    [0x10000, esp32App({ project: 'door-sensor', version: '1.0.0' })],
    [0x80000, LITTLEFS],
  ]),
  flashWith(MIB, [
    [0x1000, esp32Bootloader()],
    [0x8000, tableSector(TABLE)],
    [0x9000, settings(2)],
    [0xd000, otaRecord(2)],
    [0x10000, esp32App({ project: 'door-sensor', version: '1.0.0' })],
    [0x40000, esp32App({ project: 'door-sensor', version: '1.1.0' })],
  ]),
  flashWith(MIB, [
    [0x1000, Buffer.alloc(0x100, 0x5a)],
    [0x8000, tableSector(moved)],
    [0x10000, esp32App({ project: 'other' })],
  ]),
  flashWith(2 * MIB, []),
];

/** `list` says more than which boards there are, and the API whether one is damaged. */
const LISTED = boardsAnswer.extend({ boards: z.array(boardsAnswer.shape.boards.element.omit({ isDamaged: true })) });

describe('documents that the API hands out', () => {
  it('are what OpenAPI says: nothing is missing, and nothing comes that it does not tell of', async (t) => {
    const bench = await Bench.open(t);
    const archive = archiveAt(bench.archivePath);
    for (const [index, bytes] of IMAGES.entries()) {
      const draft = await archive.begin(MAC, bytes.length);
      await draft.write(0, bytes);
      const made = content(bytes, [T0, ...LATER][index]);
      await draft.commit({ ...made, chip: { ...made.chip, family: 'esp32' } });
    }
    const other = await archive.begin(OTHER_MAC, MIB);
    await other.write(0, IMAGES[0]!);
    const made = content(IMAGES[0]!, T0, OTHER_MAC);
    const security = { flashEncryption: true, secureBoot: false, secureDownload: false };
    await other.commit({ ...made, chip: { ...made.chip, family: 'esp32' }, security });
    const ids = await archive.backupIds(MAC);

    const check = async (schema: z.ZodType, args: readonly string[]) => {
      const { status, json, stderr } = await bench.runJson<object>(args);
      assert.equal(status, 0, stderr);
      assert.equal(schema.safeParse(json).error?.message, undefined, args.join(' '));
      assert.deepEqual(untold(schema, json), [], args.join(' '));
      return json as Record<string, unknown>;
    };
    for (const id of ids) await check(contentsAnswer, ['contents', `${MAC}@${id}`, '--reveal']);
    const encrypted = await check(contentsAnswer, ['contents', OTHER_MAC]);
    assert.equal(encrypted['opaque'], 'encryption');
    for (const [index, id] of ids.entries()) {
      for (const later of ids.slice(index)) {
        await check(diffAnswer, ['diff', `${MAC}@${id}`, `${MAC}@${later}`, '--reveal']);
        await check(diffAnswer, ['diff', `${MAC}@${later}`, `${MAC}@${id}`]);
      }
    }
    await check(diffAnswer, ['diff', `${OTHER_MAC}@${ID0}`, `${MAC}@latest`]);

    const plan = await check(retentionAnswer, ['prune', '--keep-last', '1', '--dry-run']);
    assert.ok((plan['backups'] as { stays: boolean }[]).some(({ stays }) => !stays));
    await check(retentionAnswer, ['prune', '--dry-run']);

    await archive.marks.describe(MAC, { label: 'kitchen', note: 'n', group: 'g' });
    await archive.marks.pin(MAC, ids[1]!, { pinned: true, note: null });
    await bench.run(['prune', '--keep-last', '1', '--yes']);
    await writeFile(join(bench.archivePath, FOLDER, '.DS_Store'), 'x');
    await writeFile(join(bench.archivePath, 'notes.txt'), 'x');
    await appendFile(join(bench.archivePath, FOLDER, ids.at(-1)!, 'flash.bin'), 'x');
    await writeFile(join(bench.archivePath, FOLDER, 'restoring.json'), '{');
    for (const [schema, args] of [
      [boardAnswer, ['show', MAC]],
      [LISTED, ['list']],
    ] as const) {
      const { json } = await bench.runJson<Record<string, unknown[]>>(args);
      // What is damaged is told with another exit status, and so with an error.
      const document = Object.fromEntries(Object.entries(json).filter(([key]) => key !== 'error'));
      assert.equal(schema.safeParse(document).error?.message, undefined, args.join(' '));
      assert.deepEqual(untold(schema, document), [], args.join(' '));
      assert.ok(json['problems']!.length > 0 && json['foreign']!.length > 0, args.join(' '));
    }
  });

  it('a field that is not told is found, in lists and unions', () => {
    assert.deepEqual(untold(boardsAnswer, { boards: [{ mac: MAC, more: 1 }], total: 1, x: 2 }), [
      '.boards[].more',
      '.x',
    ]);
    assert.deepEqual(untold(retentionAnswer, { policy: null, dryRun: false, other: 1 }), ['.other']);
  });
});
