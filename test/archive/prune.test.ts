import assert from 'node:assert/strict';
import { appendFile, chmod, mkdir, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import * as nodeFs from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import type { ArchiveOptions } from '../../src/archive/archive.ts';
import type { FileSystem } from '../../src/archive/disk.ts';
import { currentOwner, draftName } from '../../src/archive/owner.ts';
import type { RestoreRecordContent } from '../../src/archive/restore-record.ts';
import { KEEP_EVERYTHING, NO_RULES, type RetentionPolicy } from '../../src/archive/retention/policy.ts';
import type { Archive } from '../../src/archive/types.ts';
import { EspdError, hasCode } from '../../src/errors.ts';
import type { Mac } from '../../src/mac.ts';
import { macToFolder } from '../../src/mac.ts';
import { FOLDER, MAC, OTHER_MAC, allSound, archiveAt, backUp, image, newArchive, systemError } from './support.ts';
import { watchedFileSystem } from './support.ts';

const LAST_ONE: RetentionPolicy = { ...KEEP_EVERYTHING, rules: { ...NO_RULES, last: 1 } };
const at = (day: number) => `2026-10-0${day}T10:00:00.000Z`;
const id = (day: number) => `2026-10-0${day}T10-00-00Z`;

/** Backups of the first days of October, one a day. */
async function filled(archive: Archive, days: number, mac: Mac = MAC): Promise<void> {
  for (let day = 1; day <= days; day++) await backUp(archive, image(2000, day), at(day), mac);
}

async function fiveDays(t: TestContext, options: Partial<ArchiveOptions> = {}): Promise<Archive> {
  const archive = await newArchive(t);
  await filled(archive, 5);
  return archiveAt(archive.root, options);
}

const entries = (archive: Archive, mac = MAC) =>
  readdir(join(archive.root, macToFolder(mac))).then((names) => names.sort());

async function prune(archive: Archive, policy = LAST_ONE) {
  return archive.retention.remove(await archive.retention.plan(policy));
}

function restoreOf(from: { mac: Mac; id: string }, mac: Mac): RestoreRecordContent {
  return {
    ...{ mac, from, startedAt: '2026-10-20T10:00:00.000Z', why: 'first of 5', parts: null, snapshot: null },
    regions: [{ offset: 0, sizeBytes: 4096 }],
    done: [{ offset: 0, sizeBytes: 4096, md5: '0'.repeat(32) }],
    snapshotIsNew: true,
    options: { port: null, ignore: [], yes: false, toldFlashBytes: null },
  };
}

describe('prune', () => {
  test('removes what no rule keeps, as a whole, and notes it with its reason', async (t) => {
    const archive = await fiveDays(t);
    const plan = await archive.retention.plan(LAST_ONE);
    assert.deepEqual(
      plan.decisions.map(({ stays }) => stays),
      [true, false, false, false, true],
    );
    assert.ok(plan.freedBytes >= 3 * 2000 && plan.totalBytes > plan.freedBytes);
    const shas = (await archive.history(MAC)).backups.map(({ manifest }) => manifest.image.sha256);
    const told: string[] = [];
    const { removed, spared } = await archive.retention.remove(plan, { onRemoved: (each) => told.push(each.id) });
    assert.deepEqual([told, removed.map((each) => each.id), spared], [[id(2), id(3), id(4)], told, []]);
    assert.deepEqual(await entries(archive), [id(1), id(5), 'removed.jsonl']);
    const { removals } = await archive.marks.of(MAC);
    assert.deepEqual(
      removals.map((removal) => [removal.id, removal.sha256, removal.why, removal.createdBy]),
      [2, 3, 4].map((day) => [id(day), shas[day - 1], 'no rule keeps it (keepLast 1)', 'espd 0.0.0-test']),
    );
    assert.deepEqual(await archive.verify({}), allSound(2));
    // Once more: nothing is left to do.
    assert.deepEqual(await prune(archive), { removed: [], spared: [] });
    assert.equal((await archive.marks.of(MAC)).removals.length, 3);
  });

  test('without a policy nothing goes', async (t) => {
    const archive = await fiveDays(t);
    assert.deepEqual(await prune(archive, KEEP_EVERYTHING), { removed: [], spared: [] });
    assert.equal((await archive.backupIds(MAC)).length, 5);
  });

  test('a size budget counts what files take on the disk', async (t) => {
    const archive = await newArchive(t);
    for (let day = 1; day <= 5; day++) await backUp(archive, image(300_000, day), at(day));
    const plan = await archive.retention.plan({ ...KEEP_EVERYTHING, maxBytes: 1024 ** 2 });
    assert.ok(plan.totalBytes >= 1_500_000 && plan.totalBytes < 2_000_000, `${plan.totalBytes}`);
    assert.deepEqual(
      plan.decisions.map(({ stays }) => stays),
      [true, false, true, false, true],
    );
  });

  test('only of the boards that are asked for; the newest of the others is a witness of the time', async (t) => {
    const archive = await fiveDays(t);
    await filled(archive, 4, OTHER_MAC);
    const plan = await archive.retention.plan(LAST_ONE, { only: new Set([OTHER_MAC]) });
    await archive.retention.remove(plan);
    assert.equal((await archive.backupIds(MAC)).length, 5);
    assert.deepEqual(await archive.backupIds(OTHER_MAC), [id(1), id(4)]);
    await backUp(archive, image(10), '2099-01-01T00:00:00.000Z');
    const blocked = await archive.retention.plan(LAST_ONE, { only: new Set([OTHER_MAC]) });
    assert.deepEqual(
      blocked.blocked.map(({ code }) => code),
      ['clock'],
    );
    assert.ok(blocked.decisions.every(({ stays }) => stays));
  });

  test('what is pinned, restored, damaged, foreign or being worked on stays', async (t) => {
    const archive = await fiveDays(t);
    await filled(archive, 3, OTHER_MAC);
    const stay = async () =>
      new Map(
        (await archive.retention.plan(LAST_ONE)).decisions
          .filter(({ mac }) => mac === MAC)
          .map((decision) => [decision.id, decision.stays && decision.reasons[0]?.code]),
      );
    const board = join(archive.root, FOLDER);
    await archive.marks.pin(MAC, id(2), { pinned: true, note: 'works' });
    assert.equal((await stay()).get(id(2)), 'pinned');
    await archive.marks.pin(MAC, id(2), { pinned: false, note: null });
    assert.equal((await stay()).get(id(2)), false);

    await archive.beginRestore(restoreOf({ mac: MAC, id: id(3) }, OTHER_MAC));
    assert.equal((await stay()).get(id(3)), 'restoring');
    await archive.endRestore(OTHER_MAC, 'done');
    assert.equal((await stay()).get(id(3)), 'restored');

    await writeFile(join(board, id(4), 'notes.txt'), 'mine');
    assert.equal((await stay()).get(id(4)), 'foreign');
    await rename(join(board, id(4), 'notes.txt'), join(board, id(4), '.DS_Store'));
    assert.equal((await stay()).get(id(4)), false);

    const manifest = join(board, id(4), 'manifest.json');
    await chmod(manifest, 0o600);
    await appendFile(manifest, ' ');
    assert.equal((await stay()).get(id(4)), 'damaged');

    const draft = join(board, draftName(await currentOwner()));
    await mkdir(draft);
    assert.equal((await stay()).get(id(2)), 'held');
    await rm(draft, { recursive: true });
    const torn = join(board, 'pins.jsonl');
    const pins = await readFile(torn, 'utf8');
    await appendFile(torn, '{"at":"2026-11-24T10:00:00.000Z","id":"20');
    assert.equal((await stay()).get(id(2)), 'held');
    await writeFile(torn, pins);
    assert.equal((await stay()).get(id(2)), false);

    // A record that nobody understands may name anything, so nothing goes, of any board.
    await writeFile(join(archive.root, macToFolder(OTHER_MAC), 'restoring.json'), '{');
    const plan = await archive.retention.plan(LAST_ONE);
    assert.deepEqual(
      plan.blocked.map(({ text }) => text),
      ['24-0a-c4-00-01-02/restoring.json is no JSON'],
    );
    assert.deepEqual(await prune(archive), { removed: [], spared: [] });
  });

  test('what was marked after the plan was made is spared', async (t) => {
    const archive = await fiveDays(t);
    const plan = await archive.retention.plan(LAST_ONE);
    await archive.marks.pin(MAC, id(3), { pinned: true, note: null });
    const { removed, spared } = await archive.retention.remove(plan);
    assert.deepEqual(
      [removed.map((each) => each.id), spared.map((each) => [each.id, each.stays, each.reasons[0]?.code])],
      [[id(2), id(4)], [[id(3), true, 'pinned']]],
    );
  });

  test('the newest that looks sound stays, although it was not when the plan was made', async (t) => {
    const archive = await fiveDays(t);
    const plan = await archive.retention.plan(LAST_ONE);
    await rm(join(archive.root, FOLDER, id(5), 'flash.bin'));
    const { spared } = await archive.retention.remove(plan);
    assert.deepEqual(
      spared.map((each) => each.id),
      [id(4)],
    );
  });

  /** Runs `meanwhile` once, at the moment when the first backup has lost its name. */
  const whenTaken = (meanwhile: () => Promise<void>): FileSystem => {
    let done = false;
    return {
      ...nodeFs,
      rename: async (from, to) => {
        await nodeFs.rename(from, to);
        if (done || !/\d\dZ$/.test(String(from)) || !String(to).includes('draft.')) return;
        done = true;
        await meanwhile();
      },
    };
  };

  test('a pin in the very moment of the removal brings the backup back', async (t) => {
    const other = await fiveDays(t);
    const fs = whenTaken(() => other.marks.pin(MAC, id(2), { pinned: true, note: null }));
    const { spared, removed } = await prune(archiveAt(other.root, { fs }));
    assert.deepEqual([spared.map((each) => each.id), removed.length], [[id(2)], 2]);
    assert.deepEqual(await other.backupIds(MAC), [id(1), id(2), id(5)]);
    assert.deepEqual(await other.verifyBackup(MAC, id(2)), []);
  });

  test('a restore that begins in that moment does not begin, and one that had begun keeps its backup', async (t) => {
    const other = await fiveDays(t);
    let begun = '';
    const fs = whenTaken(async () => {
      const record = restoreOf({ mac: MAC, id: id(2) }, OTHER_MAC);
      begun = await other.beginRestore(record).then(
        () => 'begun',
        (error: unknown) => (error instanceof EspdError ? error.code : String(error)),
      );
    });
    await prune(archiveAt(other.root, { fs }));
    assert.equal(begun, 'archive-unknown-backup');
    assert.equal(await other.halfRestored(OTHER_MAC), null);
    assert.deepEqual(await other.backupIds(MAC), [id(1), id(5)]);

    const second = await fiveDays(t);
    const record = restoreOf({ mac: MAC, id: id(2) }, OTHER_MAC);
    // The record is there, and its maker has looked already, before the name is taken away.
    const writes = {
      ...nodeFs,
      rename: async (from: string, to: string) => {
        if (from.endsWith(id(2))) await second.beginRestore(record);
        await nodeFs.rename(from, to);
      },
    } as FileSystem;
    const { spared } = await prune(archiveAt(second.root, { fs: writes }));
    assert.deepEqual(
      spared.map((each) => [each.id, each.reasons[0]?.code]),
      [[id(2), 'restoring']],
    );
    assert.deepEqual(await second.backupIds(MAC), [id(1), id(2), id(5)]);
  });

  test('two at once do no harm', async (t) => {
    const one = await fiveDays(t);
    const two = archiveAt(one.root);
    const plans = await Promise.all([one.retention.plan(LAST_ONE), two.retention.plan(LAST_ONE)]);
    const reports = await Promise.all([one.retention.remove(plans[0]), two.retention.remove(plans[1])]);
    // Each sees the other's holding as a job, so between them they have removed some, and nothing that stays.
    assert.ok(reports.every(({ spared }) => spared.every(({ reasons }) => reasons[0]?.code === 'held')));
    await prune(one);
    assert.deepEqual(await one.backupIds(MAC), [id(1), id(5)]);
    assert.deepEqual(await one.verify({}), allSound(2));
  });

  test('a stop ends it between backups', async (t) => {
    const archive = await fiveDays(t);
    const abort = new AbortController();
    const plan = await archive.retention.plan(LAST_ONE);
    abort.abort(new Error('stopped'));
    await assert.rejects(archive.retention.remove(plan, { signal: abort.signal }), /stopped/);
    assert.equal((await archive.backupIds(MAC)).length, 5);
    await assert.rejects(archive.retention.plan(LAST_ONE, { signal: abort.signal }), /stopped/);
  });

  test('a fault of the disk leaves each backup whole under its name, or gone', async (t) => {
    // Every call that changes something, and every fsync, is let fail once.
    for (let failing = 0; ; failing++) {
      const archive = await fiveDays(t);
      let count = 0;
      const failures: string[] = [];
      const fs = watchedFileSystem(({ name }) => {
        if (!['rename', 'handle.sync', 'handle.write', 'rm'].includes(name) || count++ !== failing) return;
        failures.push(name);
        throw systemError('EIO');
      });
      const faulty = archiveAt(archive.root, { fs });
      const outcome = await prune(faulty).catch((error: unknown) => error);
      if (failures.length === 0) {
        assert.ok(failing > 8);
        break;
      }
      if (outcome instanceof Error) assert.ok(hasCode(outcome, 'archive-unwritable'), String(outcome));
      const ids = await archive.backupIds(MAC);
      assert.ok(ids.includes(id(1)) && ids.includes(id(5)));
      assert.deepEqual((await archive.verify({})).damaged, []);
      assert.equal((await archive.verify({})).checked, ids.length);
      // The same process goes on where it was.
      await prune(faulty);
      await prune(faulty);
      assert.deepEqual(await entries(archive), [id(1), id(5), 'removed.jsonl'], `call ${failing}`);
    }
  });

  test('what a crash has left of a removal is cleared by the next one; a backup that had only lost its name has it again', async (t) => {
    const archive = await fiveDays(t);
    const board = join(archive.root, FOLDER);
    const gone = { ...(await currentOwner()), pid: 4_194_305 };
    const plan = await archive.retention.plan(LAST_ONE);
    await archive.retention.remove({ decisions: plan.decisions.filter((each) => each.id !== id(3)) });
    // As if the machine had stopped after the name was taken away; and after the deletion had begun.
    const line = { at: at(5), id: id(3), sha256: null, why: 'no rule keeps it', createdBy: 'espd' };
    await appendFile(join(board, 'removed.jsonl'), `${JSON.stringify(line)}\n`);
    await rename(join(board, id(3)), join(board, draftName(gone)));
    await mkdir(join(board, `trash.${'0'.repeat(16)}`));
    // An interrupted backup is none of its business.
    const draft = draftName(gone);
    await mkdir(join(board, draft));
    await writeFile(join(board, draft, 'flash.bin'), 'bytes');
    await archive.retention.remove({ decisions: [] });
    assert.deepEqual(await entries(archive), [id(1), id(3), id(5), draft, 'removed.jsonl'].sort());
    assert.deepEqual(await archive.verifyBackup(MAC, id(3)), []);
    await prune(archive);
    assert.deepEqual(await entries(archive), [id(1), id(5), draft, 'removed.jsonl'].sort());
  });

  test("a backup that begins gives a dead removal's backup its name back, instead of clearing it away", async (t) => {
    const archive = await fiveDays(t);
    const board = join(archive.root, FOLDER);
    const gone = { ...(await currentOwner()), pid: 4_194_305 };
    // The pin came in the moment of the removal, and the machine stopped before that was seen.
    await archive.marks.pin(MAC, id(3), { pinned: true, note: null });
    const line = { at: at(5), id: id(3), sha256: null, why: 'no rule keeps it', createdBy: 'espd' };
    await appendFile(join(board, 'removed.jsonl'), `${JSON.stringify(line)}\n`);
    await rename(join(board, id(3)), join(board, draftName(gone)));
    await (await archive.begin(MAC, 2000)).discard();
    assert.deepEqual(await archive.backupIds(MAC), [1, 2, 3, 4, 5].map(id));
    assert.deepEqual(await archive.verifyBackup(MAC, id(3)), []);
    // One whose deletion had begun is no backup any more.
    await rename(join(board, id(4)), join(board, draftName(gone)));
    const [left = ''] = (await entries(archive)).filter((name) => name.startsWith('draft.'));
    await appendFile(join(board, 'removed.jsonl'), `${JSON.stringify({ ...line, id: id(4) })}\n`);
    await rm(join(board, left, 'SHA256SUMS'));
    await (await archive.begin(MAC, 10)).discard();
    assert.deepEqual(await entries(archive), [...[1, 2, 3, 5].map(id), 'pins.jsonl', 'removed.jsonl']);
  });
});
