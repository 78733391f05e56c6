/** Recordings of boards that the archive knew, and of restores: played again as a developer does with what was sent. */

import assert from 'node:assert/strict';
import { type TestContext, describe, it } from 'node:test';
import type { Archive, Backup } from '../../../src/archive/types.ts';
import { type Family, type SimulatedBoard, memoryLink } from '../../../src/simulator/index.ts';
import { type UnkeptBackup, readFlash } from '../../../src/transfer/backup.ts';
import { parseRecording } from '../../../src/transfer/record/format.ts';
import { RecordingTape } from '../../../src/transfer/record/recording.ts';
import { restoreBoard } from '../../../src/transfer/restore/restore.ts';
import type { RestoreOptions } from '../../../src/transfer/restore/options.ts';
import { type Session, fixedLink } from '../../../src/transfer/session.ts';
import { replayRecording } from '../../support/replay-recording.ts';
import { Bench, KIB, differingSectors, imageOf, smallImage, withSectors } from '../support.ts';

const SECRET = 'my-wifi-password-42';
const SIZE = 512 * KIB;

function secretImage(family: Family): Buffer {
  const image = Buffer.from(smallImage(family, SIZE));
  image.write(SECRET, 0x9100, 'latin1');
  return image;
}

interface Taped {
  readonly text: string;
  readonly error: unknown;
}

/** The text of a recording of `work` on that board, made as a command makes it. */
async function taped(
  bench: Bench,
  board: SimulatedBoard,
  command: string,
  work: (session: Session, archive: Archive) => Promise<unknown>,
  { withPayload = false, asked = {} }: { withPayload?: boolean; asked?: object } = {},
): Promise<Taped> {
  const settings = { baudRate: 921_600, connectAttempts: 3, reset: 'auto', full: false };
  const tape = new RecordingTape({
    ...{ clock: bench.clock, command, withPayload, usbOf: () => Promise.resolve(null), settings },
    asked: asked as Record<string, unknown>,
  });
  const open = tape.opener(fixedLink(memoryLink(board, { clock: bench.clock })));
  const link = await open('x', { baudRate: 115_200, clock: bench.clock, log: bench.log });
  let error: unknown;
  const result = await bench
    .session(bench.board(), (session) => work(session, tape.archive(bench.archive)), { through: () => link })
    .catch((thrown: unknown) => void (error = thrown));
  const value = result?.value;
  if (typeof value === 'object' && value !== null && 'keep' in value) await (value as UnkeptBackup).keep();
  await tape.settled();
  tape.end();
  let text = '';
  for await (const part of tape.content()) text += part;
  return { text, error };
}

const backUp = (session: Session, archive: Archive) => readFlash(session, { archive, full: false, reason: 'by-hand' });

const restoring =
  (backup: Backup, more: Partial<RestoreOptions> = {}) =>
  (session: Session, archive: Archive) =>
    restoreBoard(session, {
      ...{ archive, backup, targetMac: backup.mac, dryRun: false, confirm: () => Promise.resolve(true), ...more },
    });

/** A board whose backup is in the archive, and which has changed since. */
async function changedBoard(t: TestContext, family: Family, sectors: readonly number[]) {
  const bench = await Bench.open(t);
  const before = bench.board({ family, content: secretImage(family) });
  const { value } = await bench.backup(before);
  const content = withSectors(secretImage(family), sectors);
  const board = bench.board({ family, mac: before.mac, content });
  return { bench, board, content, backup: value.backup };
}

async function assertReplays(t: TestContext, text: string, work: 'backup' | 'restore') {
  const replayed = await replayRecording(t, text);
  for (const { divergence, done, error, recorded, work: is } of replayed) {
    assert.equal(divergence, undefined);
    assert.equal(error, undefined);
    assert.deepEqual([done, is], [recorded, work]);
  }
  assert.equal(replayed.length, 1);
  return replayed[0]!;
}

function assertTellsNothing(text: string, image: Buffer): void {
  assert.ok(!text.includes(SECRET) && !text.includes(Buffer.from(SECRET).toString('hex')));
  for (let at = 0; at < image.length; at += 4096) {
    const sector = image.subarray(at, at + 4096);
    if (sector.includes(SECRET)) assert.ok(!text.includes(sector.toString('hex', 0, 64)));
  }
}

describe('a recording of a board that the archive knew', () => {
  const changes: readonly (readonly [string, readonly number[]])[] = [
    ['unchanged', []],
    ['settings changed', [0x9]],
    ['settings and app changed', [0xa, 0x12, 0x13, 0x14]],
  ];
  for (const family of ['esp8266', 'esp32', 'esp32c3'] as const) {
    for (const [what, sectors] of changes) {
      it(`${family}, ${what}: replays to its end, and nothing of the flash is in it`, async (t) => {
        const { bench, board, content, backup } = await changedBoard(t, family, sectors);
        const { text, error } = await taped(bench, board, 'backup', backUp);
        assert.equal(error, undefined);
        assertTellsNothing(text, content);
        const { bench: again } = await assertReplays(t, text, 'backup');
        const { backups } = await again.archive.history(backup.mac);
        assert.equal(backups.length, sectors.length === 0 ? 1 : 2);
        const images = await Promise.all(backups.map(imageOf));
        // Made up, but different where the flash was.
        if (sectors.length > 0) assert.deepEqual(differingSectors(images[0]!, images[1]!), sectors);
      });
    }
  }
});

describe('a recording of a restore', () => {
  for (const family of ['esp8266', 'esp32', 'esp32c3'] as const) {
    // The areas of an ESP8266 are found by its firmware, which is not in a recording without payload.
    for (const withPayload of family === 'esp8266' ? [true] : [false, true]) {
      it(`${family}, ${withPayload ? 'with' : 'without'} payload: replays to its proven end`, async (t) => {
        const { bench, board, content, backup } = await changedBoard(t, family, [0x9, 0x12, 0x13, 0x40]);
        const { text, error } = await taped(bench, board, 'restore', restoring(backup), { withPayload });
        assert.equal(error, undefined);
        if (!withPayload) assertTellsNothing(text, content);
        const { bench: again } = await assertReplays(t, text, 'restore');
        assert.equal((await again.archive.halfRestored(backup.mac))?.record, undefined);
        assert.equal((await again.archive.restores(backup.mac)).length, 1);
      });
    }
  }

  it('without a snapshot, of a part, or with a partition kept: the options come along', async (t) => {
    for (const [asked, more] of [
      [{ snapshot: false }, { snapshot: false }],
      [{ partition: ['nvs'] }, { part: { partitions: ['nvs'] } }],
      [{ keep: ['nvs'] }, { keep: { names: ['nvs'], calibration: false } }],
    ] as const) {
      const { bench, board, backup } = await changedBoard(t, 'esp32c3', [0x9, 0x12, 0x13]);
      const { text, error } = await taped(bench, board, 'restore', restoring(backup, more), { asked });
      assert.equal(error, undefined, JSON.stringify(asked));
      await assertReplays(t, text, 'restore');
    }
  });

  for (const withPayload of [false, true]) {
    it(`${withPayload ? 'with' : 'without'} payload, of a board whose content the archive has: replays to its end`, async (t) => {
      const { bench, board, backup } = await changedBoard(t, 'esp32c3', [0x9, 0x12, 0x13, 0x40]);
      await bench.backup(board);
      const { text, error } = await taped(bench, board, 'restore', restoring(backup), { withPayload });
      assert.equal(error, undefined);
      const { bench: again } = await assertReplays(t, text, 'restore');
      for (const { archive } of [bench, again]) {
        assert.equal((await archive.restores(backup.mac)).length, 1);
        assert.equal((await archive.history(backup.mac)).backups.length, 2, 'no snapshot was made');
      }
    });
  }

  for (const family of ['esp8266', 'esp32', 'esp32c3'] as const) {
    for (const isNewest of [true, false]) {
      const which = isNewest ? 'the newest backup' : 'an older backup';
      it(`${family}, of a flash that is ${which}: no snapshot was made, and it replays to its proven end`, async (t) => {
        const { bench, board, content, backup } = await changedBoard(t, family, [0x9, 0x12, 0x13, 0x40]);
        const now = (await bench.backup(board)).value.backup;
        assert.notEqual(now.id, backup.id);
        if (!isNewest) {
          // Another state in between, which nobody restores.
          board.flash.load(0, withSectors(content, [0x20, 0x21]));
          await bench.backup(board);
          board.flash.load(0, content);
        }
        const withPayload = family === 'esp8266';
        const { text, error } = await taped(bench, board, 'restore', restoring(backup), { withPayload });
        assert.equal(error, undefined);
        if (!withPayload) assertTellsNothing(text, content);
        const roles = parseRecording(text).lines.flatMap((line) => (line.kind === 'known' ? [line.role] : []));
        assert.ok(roles.includes('verified'));
        const { bench: again } = await assertReplays(t, text, 'restore');
        const [restored] = await again.archive.restores(backup.mac);
        assert.ok(restored !== undefined);
        const [made] = (await again.archive.history(backup.mac)).backups;
        assert.equal(made?.manifest.reason === 'before-restore', false);
      });
    }
  }

  it('that failed ends as it did', async (t) => {
    const { bench, board, backup } = await changedBoard(t, 'esp32c3', [0x12]);
    board.addFault({ kind: 'mute', when: { opcode: 0x10 } });
    const { text, error } = await taped(bench, board, 'restore', restoring(backup));
    const [replayed] = await replayRecording(t, text);
    assert.equal(replayed?.divergence, undefined);
    assert.equal(replayed?.error?.code, (error as { code: string }).code);
  });
});

describe('what a recording tells of an image', () => {
  it('is the same for the same sectors, in the order of the flash', async (t) => {
    const { bench, board, backup } = await changedBoard(t, 'esp32c3', []);
    const { text } = await taped(bench, board, 'backup', backUp);
    const { header, lines } = parseRecording(text);
    assert.deepEqual(header?.settings, { baudRate: 921_600, connectAttempts: 3, reset: 'auto', full: false });
    const known = lines.filter((line) => line.kind === 'known');
    assert.deepEqual([...new Set(known.map(({ mac }) => mac))], [backup.mac]);
    const sectors = lines.flatMap((line) => (line.kind === 'sectors' && line.image === 1 ? line.sectors : []));
    assert.equal(sectors.length, SIZE / 4096);
    const image = secretImage('esp32c3');
    for (const [index, sector] of sectors.entries()) {
      const bytes = image.subarray(index * 4096, (index + 1) * 4096);
      assert.equal(
        sector === 0xff,
        bytes.every((byte) => byte === 0xff),
        `sector ${index}`,
      );
    }
  });

  it('are the eFuses of its manifest, but for those of the user, and nobody could check a digest against it', async (t) => {
    const { bench, board, backup } = await changedBoard(t, 'esp32c3', []);
    const burnt = backup.manifest.efuses['BLOCK_USR_DATA'] ?? [];
    assert.ok(burnt.length > 0);
    const { text } = await taped(bench, board, 'backup', backUp);
    const told = parseRecording(text).lines.find((line) => line.kind === 'known');
    assert.deepEqual(told?.efuses, {
      ...backup.manifest.efuses,
      BLOCK_USR_DATA: burnt.map(() => '00000000'),
    });
    assert.equal(told.digestTags?.length, 2);
    assert.ok(!text.includes(backup.manifest.image.md5));
    const { text: open } = await taped(bench, board, 'backup', backUp, { withPayload: true });
    const shown = parseRecording(open).lines.find((line) => line.kind === 'known');
    assert.deepEqual(shown?.efuses, backup.manifest.efuses);
  });

  it('is refused where it cannot be so', () => {
    const known = {
      ...{ t: 0, dir: 'host', kind: 'known', image: 1, role: 'latest', mac: '24:0a:c4:00:00:01', sizeBytes: 4096 },
      ...{ chip: {}, flash: {}, security: null, confirmed: true, partitions: [], table: null },
    };
    const sectors = { t: 0, dir: 'host', kind: 'sectors', image: 1, from: 0, sectors: [255, 'a'.repeat(32)] };
    const line = (value: object) => `${JSON.stringify(value)}\n`;
    assert.equal(parseRecording(line(known) + line(sectors)).lines.length, 2);
    for (const wrong of [
      ...[{ image: -1 }, { role: 'x' }, { mac: '../..' }, { sizeBytes: 1e12 }, { chip: null }, { partitions: {} }],
      ...[{ table: { at: 9999, hex: '00' } }, { table: { at: 0, hex: 'zz' } }, { table: 1 }, { dir: 'chip' }],
      ...[{ efuses: { BLOCK0: ['zz'] } }, { efuses: { BLOCK0: 1 } }, { efuses: [1] }, { efuses: null }],
      ...[{ digestTags: ['x'] }, { digestTags: 1 }],
    ]) {
      assert.throws(() => parseRecording(line({ ...known, ...wrong })), /^EspdError: Line 1|^Error: Line 1|Line 1/);
    }
    for (const wrong of [{ sectors: ['x'] }, { sectors: [256] }, { sectors: 'x' }, { from: -1 }, { image: 1e9 }]) {
      assert.throws(() => parseRecording(line({ ...sectors, ...wrong })), /Line 1/);
    }
  });
});
