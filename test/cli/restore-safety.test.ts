/** restore as a person uses it: waiting, parts, clones, and boards that were left in the middle. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseMac } from '../../src/mac.ts';
import { OPCODE } from '../../src/simulator/index.ts';
import type { SimulatedBoard } from '../../src/simulator/index.ts';
import { Bench, type BenchBoard, KIB, checkError, until } from '../support/cli.ts';
import type { BackupJson, RestoreJson } from './documents.ts';

const MAC = '24:0a:c4:12:45:56';
const SECTOR = 4096;
const theBoard = { family: 'esp32c3', mac: MAC } as const;

function change(board: SimulatedBoard, offset: number, sectors = 1): void {
  board.flash.erase(offset, sectors * SECTOR);
  board.flash.program(offset, Buffer.alloc(sectors * SECTOR, 'changed '));
}

async function plugIn(bench: Bench, { board, address }: BenchBoard): Promise<void> {
  await symlink(address, join(bench.portsPath, board.mac.replaceAll(':', '-')));
}

interface HalfJson {
  readonly board: { readonly halfRestored: { readonly finish: string; readonly from: object } | null };
  readonly restores: { readonly from: { id: string } }[];
}

describe('restore', { concurrency: 4 }, () => {
  test('a board left in the middle: list, show, backup and the same command know', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, served } = await bench.addBoard(theBoard);
    const { json: kept } = await bench.runJson<BackupJson>(['backup', '--port', address]);
    const id = kept.backups[0]?.id ?? '';
    const image = board.flash.snapshot();
    change(board, 0x9000);
    change(board, 0x20000, 3);
    const removeFault = board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } });
    const failed = await bench.runJson<{ halfRestored: { finish: string }; error: { code: string } }>([
      'restore',
      '--yes',
      ...['--mac', MAC, '--port', address],
    ]);
    assert.equal(failed.status, 1, failed.stdout);
    const finish = `espd --config ${bench.configPath} restore --mac ${MAC} --at ${id} --port ${address} --yes`;
    assert.deepEqual(failed.json.halfRestored, { finish });
    removeFault();
    board.plug();
    served.plug();

    const list = await bench.run(['list']);
    assert.match(list.stdout, new RegExp(`${MAC} is half restored to ${id}, since \\S+\n  Finish with: ${finish}\n`));
    const show = await bench.runJson<HalfJson>(['show', MAC]);
    assert.equal(show.json.board.halfRestored?.finish, finish);
    assert.match((await bench.run(['show', MAC])).stdout, /half restored/);
    const { hint } = await bench.fails(['backup', '--port', address], 'half-restored');
    assert.match(hint, /--half-restored/);

    // The snapshot is the newest backup now; the same command means what it meant.
    const again = await bench.runJson<RestoreJson>(['restore', '--yes', '--mac', MAC, '--port', address]);
    assert.equal(again.status, 0, again.stdout);
    assert.deepEqual([again.json.id, again.json.finished, again.json.verified], [id, true, true]);
    assert.match(again.json.plan.backup.why, /to finish the interrupted restore/);
    assert.ok(board.flash.snapshot().equals(image));
    const shown = await bench.runJson<HalfJson>(['show', MAC]);
    assert.equal(shown.json.board.halfRestored, null);
    assert.deepEqual(
      shown.json.restores.map((restore) => restore.from.id),
      [id],
    );
    // And it still does once it is finished: nothing is undone by typing it again.
    const third = await bench.run(['restore', '--yes', '--mac', MAC, '--port', address]);
    assert.match(third.stdout, /holds this image already/);
    assert.equal((await bench.run(['backup', '--port', address])).status, 0);
  });

  const interrupted: [string, (scene: { address: string; fresh: string }) => string[]][] = [
    ['--port of a board that no scan finds', ({ address }) => [MAC, '--port', address]],
    ['--partition', ({ address }) => [MAC, '--port', address, '--partition', 'app0', '--partition', 'nvs']],
    ['--offset and --size', ({ address }) => [MAC, '--port', address, '--offset', '0x8000', '--size', '0x40000']],
    [
      '--from, --to and an override',
      ({ fresh }) => ['--from', `${MAC}@first`, '--to', '24:0a:c4:00:00:02', '--port', fresh, '--ignore-flash-size'],
    ],
  ];
  for (const [what, argsOf] of interrupted) {
    test(`what finishes an interrupted restore works as it stands, anywhere: ${what}`, async (t) => {
      const bench = await Bench.open(t);
      // Neither config nor archive is one that espd finds without being told.
      const archive = join(bench.folder, "an archive of 'boards'");
      const common = ['--config', bench.configPath, '--archive', archive];
      const run = (args: string[]) => bench.run([...common, ...args], { env: { ESPD_CONFIG: '' } });
      const { board, address, served } = await bench.addBoard(theBoard, { linked: false });
      const other = { family: 'esp32c3', mac: '24:0a:c4:00:00:02', flashSizeBytes: 1024 * KIB } as const;
      const fresh = await bench.addBoard(other, { linked: false, content: Buffer.alloc(1024 * KIB, 0xa5) });
      assert.equal((await run(['backup', '--port', address])).status, 0);
      const image = board.flash.snapshot();
      change(board, 0x9000);
      change(board, 0x20000, 3);
      const args = argsOf({ address, fresh: fresh.address });
      const target = args.includes(fresh.address) ? fresh : { board, served, address };
      const fault = { kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } } as const;
      const removeFault = target.board.addFault(fault);
      const broken = await run(['restore', ...args, '--yes']);
      assert.equal(broken.status, 1, broken.stderr);
      removeFault();
      target.board.plug();
      target.served.plug();

      const finish = /Finish with: (.*)/.exec(broken.stderr)?.[1] ?? '';
      const listed = await run(['list']);
      assert.ok(listed.stdout.includes(`Finish with: ${finish}\n`), listed.stdout);
      const words = execFileSync('sh', ['-c', `printf '%s\\0' ${finish}`], { encoding: 'utf8' }).split('\0');
      assert.equal(words[0], 'espd');
      const finished = await bench.run(words.slice(1, -1), { env: { ESPD_CONFIG: '' } });
      assert.equal(finished.status, 0, `${finish}\n${finished.stderr}`);
      assert.match(finished.stdout, /restore finished/);
      assert.ok(target.board.flash.read(0, 512 * KIB).equals(image));
    });
  }

  test('espd backup --half-restored keeps what is there, and the board stays half restored', async (t) => {
    const bench = await Bench.open(t);
    const { board, address, served } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    change(board, 0x9000);
    change(board, 0x20000, 3);
    board.addFault({ kind: 'vanish', when: { opcode: OPCODE.flashDeflBegin, nth: 2 } });
    assert.equal((await bench.run(['restore', '--yes', '--mac', MAC, '--port', address])).status, 1);
    board.plug();
    served.plug();
    assert.equal((await bench.run(['backup', '--port', address, '--half-restored'])).status, 0);
    assert.notEqual(await bench.archive.halfRestored(parseMac(MAC)!), null);
  });

  test('a worn sector is named by address and partition, for people and scripts', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard({ ...theBoard, wornSectors: [32] });
    await bench.run(['backup', '--port', address]);
    // Cells that are to be cleared again, and cannot be.
    board.flash.erase(32 * SECTOR, SECTOR);
    const restore = ['restore', '--yes', '--mac', MAC, '--port', address];
    const people = await bench.run(restore);
    checkError(people, 'write-mismatch');
    assert.match(people.stderr, /1 sector does not hold what was written: 0x020000 in app0 \(write-mismatch\)/);
    assert.match(people.stderr, /is half restored.*\n.*Finish with: /);
    const { json } = await bench.runJson<{ failedSectors: object[]; halfRestored: object }>(restore);
    assert.deepEqual(json.failedSectors, [{ offset: 32 * SECTOR, part: 'app0' }]);
    assert.ok('finish' in json.halfRestored);
  });

  test('--partition and --offset write only that, and say so', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const image = board.flash.snapshot();
    change(board, 0x9000);
    change(board, 0x20000, 3);
    const restore = (...args: string[]) => ['restore', '--yes', '--mac', MAC, '--port', address, ...args];
    const part = await bench.run(restore('--partition', 'nvs'));
    assert.equal(part.status, 0, part.stderr);
    assert.match(part.stderr, /\n {2}only {7}nvs, 0x9000 to 0xe000 \(20 KB\)\n/);
    assert.match(part.stdout, /1 sector written, region verified by the chip, the rest untouched/);
    assert.ok(!board.flash.snapshot().equals(image));
    const { json } = await bench.runJson<RestoreJson>(restore('--at', 'first', '--offset', '0x20000', '--size', '12K'));
    assert.deepEqual([json.scope, json.sectorsWritten, json.verified], ['region', 3, true]);
    assert.ok(board.flash.snapshot().equals(image));
    const { hint } = await bench.fails(restore('--partition', 'nothing'), 'usage');
    assert.match(hint, /nvs, otadata, app0/);
    for (const wrong of [
      ['--offset', '0x1000'],
      ['--offset', 'x', '--size', '4K'],
      ['--partition', 'nvs', '--offset', '0', '--size', '4K'],
    ]) {
      await bench.fails(restore(...wrong), 'usage', { hint: false });
    }
  });

  test('--wait waits until the board is plugged in, and asks each other board once', async (t) => {
    const bench = await Bench.open(t);
    const wanted = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', wanted.address]);
    const { rm } = await import('node:fs/promises');
    await rm(join(bench.portsPath, MAC.replaceAll(':', '-')));
    const other = await bench.addBoard({ family: 'esp32c3', mac: '24:0a:c4:00:00:01' });
    const image = wanted.board.flash.snapshot();
    change(wanted.board, 0x20000);
    const resets = other.board.resets;
    let waited = false;
    const running = bench.run(['restore', '--yes', '--mac', MAC, '--wait', '60'], {
      onOutput: ({ stderr }) => (waited ||= stderr.includes('Waiting for')),
    });
    await until(() => waited, 'it says that it waits');
    const asked = other.board.resets;
    assert.ok(asked > resets);
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await plugIn(bench, wanted);
    const { status, stderr } = await running;
    assert.equal(status, 0, stderr);
    assert.match(stderr, new RegExp(`Waiting for ${MAC}: plug it in, at most 60 s`));
    assert.equal(other.board.resets, asked);
    assert.ok(wanted.board.flash.snapshot().equals(image));
    checkError(
      await bench.run(['restore', '--yes', '--mac', MAC, '--to', '24:0a:c4:00:00:09', '--wait', '1']),
      'board-not-found',
    );
    await bench.fails(['restore', '--yes', '--mac', MAC, '--wait', '--port', wanted.address], 'usage', { hint: false });
  });

  test('--from and --to: a replacement board; what is bound to the old one is named', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    board.flash.program(0xa000, Buffer.from('host=ESP_124556 mac=24:0A:C4:12:45:56'));
    await bench.run(['backup', '--port', address]);
    const fresh = await bench.addBoard({ family: 'esp32c3', mac: '24:0a:c4:00:00:02' });
    const { status, json } = await bench.runJson<RestoreJson>([
      'restore',
      '--yes',
      '--from',
      MAC,
      '--to',
      fresh.board.mac,
    ]);
    assert.equal(status, 0);
    assert.deepEqual([json.mac, json.plan.backup.mac], [fresh.board.mac, MAC]);
    const places = json.plan.boundToMac.map(({ part, offset, what }) => `${part} ${offset} ${what}`);
    assert.equal(places.length, 3, places.join());
    assert.match(places[0] ?? '', /^nvs null holds the settings/);
    assert.ok(places.includes(`nvs ${0xa000 + 20} holds its MAC as text`), places.join());
    assert.ok(fresh.board.flash.snapshot().equals(board.flash.snapshot()));
    await bench.fails(['restore', '--from', MAC], 'usage');
  });

  test('a name that the image does not have is told before any board is looked for', async (t) => {
    const bench = await Bench.open(t);
    const { board, address } = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', address]);
    const asked = board.wireBytes.toBoard;
    const named = ['restore', '--yes', '--mac', MAC];
    for (const [wrong, message] of [
      [['--keep', 'nvss'], /^The image has no partition nvss$/],
      [['--keep', 'nvss', '--wait'], /^The image has no partition nvss$/],
      [['--keep', 'nvss', '--many'], /^The image has no partition nvss$/],
      [['--partition', 'app9'], /^The image has no partition app9$/],
      [['--offset', '0x1001', '--size', '0x1000'], /whole sectors/],
      [['--offset', '0', '--size', '0x80000000'], /beyond the image$/],
    ] as const) {
      const error = await bench.fails([...named, ...wrong], 'usage', { hint: false });
      assert.match(error.message, message);
    }
    assert.match((await bench.fails([...named, '--keep', 'nvss'], 'usage')).hint, /^It has: nvs, /);
    assert.equal(board.wireBytes.toBoard, asked, 'the board was not spoken to');
    // Of another board, which is not there: the name that is right says so.
    const other = [...named, '--to', '24:0a:c4:00:00:09', '--keep'];
    await bench.fails([...other, 'nvss'], 'usage');
    await bench.fails([...other, 'nvs'], 'board-not-found');
  });

  test('--many --keep leaves each board its own, and skips one that has it elsewhere', async (t) => {
    const bench = await Bench.open(t);
    const source = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', source.address]);
    const image = source.board.flash.snapshot();
    const content = Buffer.from(image);
    content.fill('its own settings ', 0x9000, 0xe000);
    content.fill('another app ', 0x20000, 0x24000);
    const moved = Buffer.from(content);
    moved.writeUInt32LE(0xa000, 0x8000 + 4);
    const boards = [
      await bench.addBoard({ family: 'esp32c3', mac: '24:0a:c4:00:00:01' }, { linked: false, content: moved }),
      await bench.addBoard({ family: 'esp32c3', mac: '24:0a:c4:00:00:02' }, { linked: false, content }),
    ];
    const lines: string[] = [];
    const many = ['restore', '--from', MAC, '--many', '--yes', '--count', '1', '--keep', 'nvs', '--json'];
    const running = bench.run(many, {
      onOutput: ({ stdout }) => void lines.splice(0, Infinity, ...stdout.trimEnd().split('\n')),
    });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (const [index, one] of boards.entries()) {
      await plugIn(bench, one);
      await until(() => lines.filter((line) => line !== '').length > index, `a line for board ${index + 1}`, 60_000);
    }
    assert.equal((await running).status, 0);
    const results = lines.flatMap((line) => (JSON.parse(line) as { board?: CloneJson }).board ?? []);
    assert.deepEqual(
      results.map(({ verdict, error }) => [verdict, error?.code]),
      [
        ['skip', 'other-layout'],
        ['pass', undefined],
      ],
    );
    const expected = Buffer.from(image);
    content.copy(expected, 0x9000, 0x9000, 0xe000);
    assert.ok(boards[0]?.board.flash.snapshot().equals(moved));
    assert.ok(boards[1]?.board.flash.snapshot().equals(expected));
  });

  test('--many clones onto what is plugged in next, and onto nothing else', async (t) => {
    const bench = await Bench.open(t);
    const source = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', source.address]);
    const image = source.board.flash.snapshot();
    change(source.board, 0x20000);
    const present = source.board.flash.snapshot();
    const content = Buffer.alloc(512 * KIB, 0xa5);
    const boards = await Promise.all(
      [
        { family: 'esp32c3', mac: '24:0a:c4:00:00:01' },
        { family: 'esp32c3', mac: '24:0a:c4:00:00:02', security: { secureBoot: true } },
        { family: 'esp32c3', mac: '24:0a:c4:00:00:03', flashSizeBytes: 1024 * KIB },
        { family: 'esp8266', mac: '24:0a:c4:00:00:04' },
        { family: 'esp32c3', mac: '24:0a:c4:00:00:05', wornSectors: [20] },
        { family: 'esp32c3', mac: '24:0a:c4:00:00:06' },
      ].map((options) => bench.addBoard(options as typeof theBoard, { linked: false, content })),
    );
    await bench.fails(['restore', '--from', MAC, '--many'], 'declined');
    await bench.fails(['restore', '--from', MAC, '--many', '--yes', '--no-snapshot'], 'usage');
    const lines: string[] = [];
    const running = bench.run(['restore', '--from', MAC, '--many', '--yes', '--count', '2', '--json'], {
      onOutput: ({ stdout }) => void lines.splice(0, Infinity, ...stdout.trimEnd().split('\n')),
    });
    await new Promise((resolve) => setTimeout(resolve, 1500));
    for (const [index, one] of boards.entries()) {
      await plugIn(bench, one);
      await until(() => lines.filter((line) => line !== '').length > index, `a line for board ${index + 1}`, 60_000);
    }
    const { status } = await running;
    const results = lines.map((line) => JSON.parse(line) as { board?: CloneJson; report?: Record<string, unknown> });
    const verdicts = results.flatMap(({ board }) =>
      board ? [`${board.verdict} ${board.error?.code ?? ''}`.trim()] : [],
    );
    assert.deepEqual(verdicts, [
      'pass',
      'skip secure-boot',
      'skip other-size',
      'skip other-chip',
      'fail write-mismatch',
      'pass',
    ]);
    assert.equal(results[4]?.board?.failedSectors?.[0]?.part, 'app0');
    const { report } = results.at(-1) ?? {};
    assert.deepEqual([report?.['passed'], report?.['failed'], report?.['skipped']], [2, 1, 3]);
    assert.equal(status, 4);
    for (const index of [0, 5]) assert.ok(boards[index]?.board.flash.snapshot().equals(image), `board ${index}`);
    for (const index of [1, 2, 3]) assert.ok(boards[index]?.board.flash.read(0, 512 * KIB).equals(content));
    assert.ok(source.board.flash.snapshot().equals(present), 'a board that was there is left alone');
    const { backups } = await bench.archive.history(parseMac('24:0a:c4:00:00:01')!);
    assert.equal(backups.length, 1, 'a snapshot of each');
  });

  test('--many that only skipped boards ends with 0: they were not touched, and each was named', async (t) => {
    const bench = await Bench.open(t);
    const source = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', source.address]);
    const alien = await bench.addBoard({ family: 'esp8266', mac: '24:0a:c4:00:00:04' }, { linked: false });
    const content = alien.board.flash.snapshot();
    const abort = new AbortController();
    const { status, stdout, stderr } = await bench.run(['restore', '--from', MAC, '--many', '--yes'], {
      signal: abort.signal,
      onOutput: (said) => {
        if (said.stderr.includes('Plug the next one in') && said.stdout === '')
          void plugIn(bench, alien).catch(() => 0);
        if (said.stdout.includes('other-chip')) abort.abort();
      },
    });
    assert.equal(status, 0, stderr);
    assert.match(
      stdout,
      /^skip {2}24:0a:c4:00:00:04 {2}.*\(other-chip\)\n.*: 0 passed, 0 failed, 1 skipped, not written to\n$/,
    );
    assert.doesNotMatch(stderr, /espd:/);
    assert.deepEqual(alien.board.flash.snapshot(), content);
  });

  test('--many asks once, and ends with Ctrl-C', async (t) => {
    const bench = await Bench.open(t);
    const source = await bench.addBoard(theBoard);
    await bench.run(['backup', '--port', source.address]);
    const declined = await bench.run(['restore', '--from', MAC, '--many'], { tty: true, answer: 'n' });
    checkError(declined, 'declined');
    const abort = new AbortController();
    const { status, stdout, stderr } = await bench.run(['restore', '--from', MAC, '--many'], {
      tty: true,
      answer: 'y',
      signal: abort.signal,
      onOutput: (said) => said.stderr.includes('Plug the next one in') && abort.abort(),
    });
    assert.equal(status, 0, stderr);
    assert.match(stdout, /: 0 passed, 0 failed, 0 skipped/);
  });
});

interface CloneJson {
  readonly verdict: string;
  readonly error?: { readonly code: string };
  readonly failedSectors?: { readonly offset: number; readonly part: string }[];
}
