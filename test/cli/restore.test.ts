/** restore on simulated boards: the JSON contract, the question, and what is refused. */

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { sha256 } from '../archive/support.ts';
import { parseMac } from '../../src/mac.ts';
import { Bench, KIB, checkError, screenOf } from '../support/cli.ts';
import type { BackupJson, RestoreJson } from './documents.ts';

const MAC = '50:02:91:c3:37:a5';
const OTHER = '24:0a:c4:12:45:56';
const SECTOR = 4096;

/** The board of the how-to. */
const theBoard = { family: 'esp8266', mac: MAC, jedec: [0x5e, 0x40, 0x13] } as const;

function change(board: SimulatedBoard, offset: number, sectors = 1): void {
  board.flash.erase(offset, sectors * SECTOR);
  board.flash.program(offset, Buffer.alloc(sectors * SECTOR, 'changed '));
}

describe('restore', { concurrency: 8 }, () => {
  test('restore: the contract; only what differs is written', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const before = board.flash.snapshot();
    change(board, 0x40000, 2);
    change(board, 0x60000, 1);
    const changedContent = board.flash.snapshot();

    const dry = await bench.runJson<RestoreJson>(['restore', '--mac', MAC, '--dry-run']);
    assert.equal(dry.status, 0, dry.stderr);
    const { plan } = dry.json;
    assert.deepEqual(plan.regions, [
      { offset: 0x40000, sizeBytes: 2 * SECTOR },
      { offset: 0x60000, sizeBytes: SECTOR },
    ]);
    assert.deepEqual([plan.sectors, plan.bytes], [3, 3 * SECTOR]);
    // The app of the how-to's board lies outside any image that a header names.
    const parts = plan.parts.map(({ name, sectors }) => ({ name, sectors }));
    assert.deepEqual(parts, [{ name: 'outside any partition', sectors: 3 }]);
    assert.deepEqual([plan.backup.id, plan.backup.why], [kept.backups[0]?.id, 'the only one']);
    assert.ok(plan.estimate.seconds > 0 && plan.estimate.seconds < 60);
    assert.deepEqual([plan.snapshot, plan.halfRestored, plan.scope], [{ kind: 'made' }, null, null]);
    assert.deepEqual([dry.json.sectorsWritten, dry.json.verified], [0, false]);
    assert.deepEqual(board.flash.snapshot(), changedContent, 'a dry run writes nothing');
    assert.equal(board.mode, 'app');
    const shown = await bench.run(['restore', '--mac', MAC, '--dry-run']);
    assert.match(shown.stdout, /^Restore of 50:02:91:c3:37:a5 \(ESP8266EX v0\.0 at rfc2217:/);
    assert.match(shown.stdout, /\n {2}backup {5}\S+Z, just made, the only one; verified\n/);
    assert.match(shown.stdout, /\n {2}differs {4}3 of 128 sectors, 12 KB\n/);
    assert.match(shown.stdout, /\n {2}0x0*40000 {2}8 KB\n {2}0x0*60000 {2}4 KB\nNothing was written\n$/);

    const { status, json } = await bench.runJson<RestoreJson>(['restore', '--yes', '--mac', '50-02-91-C3-37-A5']);
    assert.equal(status, 0);
    const { transfer, plan: written, snapshot, ...result } = json;
    assert.equal(written.sectors, 3);
    assert.deepEqual(result, {
      mac: MAC,
      id: kept.backups[0]?.id,
      sizeBytes: 512 * KIB,
      sha256: sha256(before),
      sectorsWritten: 3,
      verified: true,
      scope: 'flash',
      finished: false,
    });
    const snapshots = (await bench.archive.history(parseMac(MAC)!)).backups.slice(1);
    assert.deepEqual(
      snapshots.map(({ id, manifest }) => [id, manifest.image.sha256]),
      [[snapshot, sha256(changedContent)]],
    );
    for (const name of ['wireBytes', 'digestsAsked', 'retries', 'baudRate', 'seconds'] as const) {
      assert.equal(typeof transfer[name], 'number', name);
    }
    assert.deepEqual(board.flash.snapshot(), before);
    assert.equal(board.mode, 'app');

    const again = await bench.run(['restore', '--yes', '--mac', MAC]);
    assert.equal(again.status, 0);
    assert.match(again.stdout, /holds this image already, verified by the chip/);
  });

  test('restore of an older backup by --at, on the board at --port', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const factory = board.flash.snapshot();
    change(board, 0x40000);
    const { json } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const second = board.flash.snapshot();
    const restore = (at: string) => bench.run(['restore', '--yes', '--mac', MAC, '--port', address, '--at', at]);
    assert.equal((await restore('first')).status, 0);
    assert.deepEqual(board.flash.snapshot(), factory);
    assert.equal((await restore(json.backups[0]!.id)).status, 0);
    assert.deepEqual(board.flash.snapshot(), second);
    await bench.fails(
      ['restore', '--yes', '--mac', MAC, '--port', address, '--at', '1999-12-31'],
      'archive-unknown-backup',
    );
  });

  test('latest is the newest backup but for snapshots that restores have made', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const backUp = async () => (await bench.runJson<BackupJson>(['backup', '--port', address])).json.backups[0]?.id;
    const restored = async (...args: string[]) =>
      (await bench.runJson<RestoreJson>(['restore', '--yes', '--mac', MAC, ...args])).json.id;
    const first = await backUp();
    change(board, 0x40000);
    const second = await backUp();
    // What is on the board is the second backup: no snapshot is made, and latest stays what it was.
    assert.equal(await restored('--at', 'first'), first);
    assert.equal(await restored(), second);
    // Now there is a snapshot, newer than both.
    change(board, 0x50000, 2);
    assert.equal(await restored('--at', 'first'), first);
    assert.equal((await bench.archive.history(parseMac(MAC)!)).backups.length, 3);
    assert.equal(await restored(), second);
    change(board, 0x60000, 2);
    assert.equal(await backUp().then((id) => id !== second), true);
    const newest = (await bench.archive.history(parseMac(MAC)!)).backups.at(-1)?.id;
    assert.equal(await restored('--dry-run'), newest);
  });

  test('on a terminal restore asks; only yes writes', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const before = board.flash.snapshot();
    change(board, 0x40000);
    const changed = board.flash.snapshot();
    const restore = ['restore', '--mac', MAC, '--port', address];
    for (const answer of ['n', '', 'maybe']) {
      const declined = await bench.run(restore, { tty: true, answer });
      checkError(declined, 'declined');
      assert.match(screenOf(declined.stderr), /^espd: Nothing was written \(declined\)\n {6}\S.*\n$/m);
      assert.deepEqual(board.flash.snapshot(), changed);
      assert.equal(board.mode, 'app');
    }
    const interruption = new AbortController();
    const interrupted = await bench.run(restore, {
      tty: true,
      signal: interruption.signal,
      answer: () => {
        interruption.abort();
        return Promise.reject(interruption.signal.reason as Error);
      },
    });
    assert.equal(interrupted.status, 130);
    assert.deepEqual(board.flash.snapshot(), changed);
    assert.equal(board.mode, 'app');

    const questions: string[] = [];
    const accepted = await bench.run(restore, {
      tty: true,
      answer: (question) => {
        questions.push(question);
        return Promise.resolve('y');
      },
    });
    assert.equal(accepted.status, 0, accepted.stderr);
    const [question = '', ...others] = questions;
    assert.deepEqual(others, []);
    assert.equal(
      question.replace('\n', ' '),
      `1 sector of flash differs (4 KB). Write to ${MAC} at ${address}? [y/N] `,
    );
    assert.deepEqual(board.flash.snapshot(), before);
  });

  test('nobody is asked with --yes, with --dry-run, or when nothing differs', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const answer = () => assert.fail('asked');
    for (const extra of [['--dry-run'], ['--json', '--yes'], ['--json', '--dry-run'], ['--yes']]) {
      change(board, 0x40000);
      const { status } = await bench.run(['restore', '--mac', MAC, '--port', address, ...extra], { tty: true, answer });
      assert.equal(status, 0, extra.join());
    }
    assert.equal((await bench.run(['restore', '--mac', MAC, '--port', address], { tty: true, answer })).status, 0);
  });

  test('who cannot be asked needs --yes: else 5, before the archive is read or a port opened', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    change(board, 0x40000);
    const [changed, resets] = [board.flash.snapshot(), board.resets];
    for (const args of [
      ['restore', '--mac', MAC],
      ['restore', MAC, '--port', address],
      ['restore', '--from', MAC, '--many'],
    ]) {
      const { hint } = await bench.fails(args, 'declined');
      assert.match(hint, /--yes/);
      // At a terminal, --json is for a script all the same.
      const script = await bench.runJson(args, { tty: true, answer: () => assert.fail('asked') });
      assert.deepEqual([script.status, script.json.error.code], [5, 'declined']);
    }
    assert.equal(board.resets, resets);
    assert.deepEqual(board.flash.snapshot(), changed);
  });

  test('a board and its backup are named in one word, or by options, but once', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const first = kept.backups[0]?.id ?? '';
    change(board, 0x40000);
    const { json: changed } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const ways: [string[], string][] = [
      [[MAC], changed.backups[0]?.id ?? ''],
      [[`${MAC}@first`], first],
      [['500291c337a5', '--at', 'first'], first],
      [['--mac', `${MAC}@${first}`], first],
      [['--from', `${MAC}@first`, '--to', MAC], first],
    ];
    for (const [args, id] of ways) {
      const { json } = await bench.runJson<RestoreJson>(['restore', ...args, '--port', address, '--dry-run']);
      assert.equal(json.id, id, args.join(' '));
    }
    for (const [args, message] of [
      [[MAC, '--mac', MAC], /named twice/],
      [['--mac', MAC, '--from', MAC, '--to', MAC], /named twice/],
      [[`${MAC}@first`, '--at', 'latest'], /said twice/],
      [['--from', `${MAC}@first`], /needs a board to write to/],
    ] as const) {
      const error = await bench.fails(['restore', '--yes', ...args], 'usage');
      assert.match(error.message, message);
    }
    await bench.fails(['restore', '--yes', `${MAC}@`], 'archive-unknown-backup');
  });

  test('latest is no snapshot of before a restore, also for another board with --to', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const good = { id: kept.backups[0]?.id, content: board.flash.snapshot() };
    // The suspect: what a restore finds, and keeps before it puts the good image back.
    change(board, 0x40000, 3);
    const { json: repaired } = await bench.runJson<RestoreJson>(['restore', '--yes', MAC, '--port', address]);
    const suspect = repaired.snapshot ?? '';
    assert.notEqual(suspect, '');

    const fresh = await bench.addBoard({ family: 'esp8266', mac: '50:02:91:00:00:01' });
    const own = fresh.board.flash.snapshot();
    change(fresh.board, 0x10000);
    const { json } = await bench.runJson<RestoreJson>(['restore', '--yes', '--from', MAC, '--to', fresh.board.mac]);
    assert.equal(json.id, good.id);
    assert.match(json.plan.backup.why, /^the latest but for snapshots of restores \(1 of 2\)$/);
    assert.deepEqual(fresh.board.flash.snapshot(), good.content);
    const shown = await bench.runJson<{ backups: { id: string }[] }>(['show', `${MAC}@latest`]);
    assert.deepEqual(
      shown.json.backups.map(({ id }) => id),
      [good.id],
    );

    // All that there is of the other board was on it before: nobody means that by saying nothing.
    const { hint } = await bench.fails(['restore', '--yes', fresh.board.mac], 'archive-unknown-backup');
    const named = await bench.run(['restore', '--yes', `${fresh.board.mac}@${/\S+Z$/.exec(hint)?.[0] ?? ''}`]);
    assert.equal(named.status, 0, named.stderr);
    assert.notDeepEqual(fresh.board.flash.snapshot(), own);

    // A snapshot that is put back on purpose is a backup like any other.
    await bench.run(['restore', '--yes', `${MAC}@${suspect}`, '--port', address]);
    const { json: again } = await bench.runJson<RestoreJson>(['restore', '--dry-run', MAC, '--port', address]);
    assert.equal(again.id, suspect);
  });

  test('restore refuses another board, another chip, another size; --to is for the other board on purpose', async (t) => {
    const bench = await Bench.open(t);
    const { address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const twin = await bench.addBoard({ family: 'esp8266', mac: '50:02:91:00:00:01' });
    const bigger = await bench.addBoard({ family: 'esp8266', mac: '50:02:91:00:00:02', flashSizeBytes: 1024 * KIB });
    const alien = await bench.addBoard({ family: 'esp32c3', mac: OTHER });
    const untouched = [twin, bigger, alien].map(({ board }) => ({ board, content: board.flash.snapshot() }));

    const restore = (...args: string[]) => ['restore', '--yes', '--mac', MAC, ...args];
    const [error] = await Promise.all([
      bench.fails(restore('--port', twin.address), 'other-mac'),
      bench.fails(restore('--port', bigger.address, '--to', bigger.board.mac), 'other-size'),
      bench.fails(restore('--port', alien.address, '--to', OTHER), 'other-chip'),
    ]);
    assert.match(error.hint, /--to 50:02:91:00:00:01/);
    assert.equal((await bench.run(restore('--to', '50:02:91:00:00:09'))).status, 3);
    for (const { board, content } of untouched) {
      assert.deepEqual(board.flash.snapshot(), content);
      assert.equal(board.mode, 'app');
    }

    const { status, json } = await bench.runJson<RestoreJson>([
      'restore',
      '--yes',
      '--mac',
      MAC,
      '--to',
      twin.board.mac,
    ]);
    assert.equal(status, 0);
    assert.deepEqual([json.mac, json.verified], [twin.board.mac, true]);
    assert.equal(sha256(twin.board.flash.snapshot()), json.sha256);
  });

  test('restore of a damaged image is refused before a board is touched', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    const { json } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const file = join(json.backups[0]!.path, 'flash.bin');
    const bytes = await readFile(file);
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const resets = board.resets;
    const { hint } = await bench.fails(['restore', '--yes', '--mac', MAC], 'archive-damaged');
    assert.match(hint, /Nothing was written/);
    assert.equal(board.resets, resets);
  });

  test('the archive may be compressed, and restores all the same', async (t) => {
    const bench = await Bench.open(t);
    await bench.configure({ archive: { compression: 'gzip' } });
    const { board, address } = await bench.addBoard(theBoard);
    const file = join(bench.folder, 'image.bin');
    assert.equal((await bench.run(['backup', '--port', address, '--output', file])).status, 0);
    assert.deepEqual(await readFile(file), board.flash.snapshot());
    const before = board.flash.snapshot();
    change(board, 0x40000);
    assert.equal((await bench.run(['restore', '--yes', '--mac', MAC, '--port', address])).status, 0);
    assert.deepEqual(board.flash.snapshot(), before);
  });
});
