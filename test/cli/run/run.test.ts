/** `espd run` without a daemon: a command that changes the flash of a simulated board, or leaves it in a bad state. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, describe, test } from 'node:test';
import { Bench, type BenchBoard, type RunOptions, assertPlain, checkError } from '../../support/cli.ts';

interface Side {
  readonly id: string;
  readonly unchanged: boolean;
}

interface RunJson {
  readonly mac: string;
  readonly port: string;
  readonly command: { readonly argv: string[]; readonly status: number | null; readonly signal: string | null };
  readonly before: Side;
  readonly after: Side | null;
  readonly changed: boolean | null;
  readonly diff: { readonly equal: boolean; readonly sectors: { readonly differing: number } } | null;
  readonly goBack: string | null;
  readonly error?: { readonly code: string };
}

class Runs {
  readonly bench: Bench;
  readonly #env: NodeJS.ProcessEnv;

  constructor(bench: Bench) {
    this.bench = bench;
    this.#env = { PATH: process.env['PATH'] };
  }

  static async open(t: TestContext): Promise<Runs> {
    return new Runs(await Bench.open(t));
  }

  options(more: RunOptions = {}): RunOptions {
    return { ...more, env: { ...this.#env, ...more.env } };
  }

  run(args: readonly string[], more: RunOptions = {}) {
    return this.bench.run(['run', ...args], this.options(more));
  }

  /** The script waits in its middle, while `work` does to the board what a flasher would have done. */
  async around(args: readonly string[], script: string, work: () => void | Promise<void>, isJson = false) {
    const { bench } = this;
    const [ready, go] = [join(bench.folder, 'ready'), join(bench.folder, 'go')];
    execFileSync('mkfifo', [ready, go]);
    const command = ['--', 'sh', '-c', `echo > "$READY"; read -r _ < "$GO"; ${script}`];
    const running = this.run([...args, ...(isJson ? ['--json'] : []), ...command], { env: { READY: ready, GO: go } });
    const has = await Promise.race([running.then(() => false), readFile(ready).then(() => true)]);
    assert.ok(has, (await (has ? Promise.resolve(undefined) : running))?.stderr);
    await work();
    await writeFile(go, '\n');
    return running;
  }
}

const flash = ({ board }: BenchBoard) => {
  board.flash.erase(0x8_0000 - 4096, 4096);
  board.flash.program(0x8_0000 - 4096, Buffer.alloc(4096, 0x5a));
};

describe('espd run', { timeout: 180_000 }, () => {
  test('backs the board up, runs the command with its port, and tells what it changed and how to go back', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp32' });
    const seen = join(runs.bench.folder, 'seen');
    const { status, stdout, stderr } = await runs.around(
      ['--port', device.address],
      `echo "$ESPD_PORT $ESPD_MAC $ESPTOOL_PORT $ESPPORT $PLATFORMIO_UPLOAD_PORT" > '${seen}'`,
      () => flash(device),
    );
    const { mac } = device.board;
    const { address } = device;
    assert.equal(status, 0, stderr);
    assert.equal(await readFile(seen, 'utf8'), `${address} ${mac} ${address} ${address} ${address}\n`);
    assert.match(stdout, /1 of 128 sectors differ \(4 KB\)/);
    assert.ok(stdout.endsWith(`To go back to what was on it before: espd undo ${mac}\n`), stdout);
    assertPlain(stdout);
    assert.equal(device.board.mode, 'app');
    const history = await runs.bench.archive.history((await runs.bench.archive.boards()).macs[0]!);
    assert.equal(history.backups.length, 2);
  });

  test('says so where nothing has changed, and ends with the status of the command', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp8266' });
    const { status, stdout, stderr } = await runs.run(['--mac', device.board.mac, '--', 'sh', '-c', 'exit 7']);
    assert.equal(status, 7);
    assert.match(stderr, /sh ended with status 7/);
    assert.match(stdout, /the command has changed nothing on the flash/);
    assert.equal(device.board.mode, 'app');
  });

  test('--json is one document, whatever the command prints', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp32c3' });
    const { status, stdout } = await runs.around(['--port', device.address], 'exit 4', () => flash(device), true);
    const told = JSON.parse(stdout) as RunJson;
    assert.deepEqual([status, told.command.status, told.command.signal], [4, 4, null]);
    assert.equal(told.command.argv[0], 'sh');
    assert.deepEqual([told.mac, told.port, told.changed], [device.board.mac, device.address, true]);
    assert.notEqual(told.before.id, told.after?.id);
    assert.deepEqual([told.diff?.equal, told.diff?.sectors.differing], [false, 1]);
    assert.equal(told.goBack, `espd undo ${device.board.mac}`);
    assert.equal(told.error, undefined);
  });

  test('a restore that is on record would be what undo takes back: then the backup is named', async (t) => {
    const runs = await Runs.open(t);
    const { bench } = runs;
    const device = await bench.addBoard({ family: 'esp32' });
    await bench.run(['backup', '--port', device.address]);
    flash(device);
    assert.equal((await bench.run(['restore', device.board.mac, '--port', device.address, '--yes'])).status, 0);
    const { stdout } = await runs.around(['--port', device.address], 'exit 0', () => flash(device));
    const [, id = ''] = /(\S+) \u2192/.exec(stdout) ?? [];
    assert.ok(stdout.endsWith(`before: espd restore ${device.board.mac}@${id}\n`), stdout);
  });

  test('a board that the command leaves in download mode runs its app afterwards', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp32' });
    const { board } = device;
    const { status, stdout } = await runs.around(['--port', device.address], 'exit 1', () => {
      board.pressBoot(true);
      board.powerCycle();
      board.pressBoot(false);
    });
    assert.equal(status, 1);
    assert.match(stdout, /changed nothing/);
    assert.equal(board.mode, 'app');
  });

  test('a board that is gone afterwards: what was on it is named, and it is a failure', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp32' });
    const { status, stdout } = await runs.around(
      ['--port', device.address],
      'exit 0',
      () => device.served.close(),
      true,
    );
    const told = JSON.parse(stdout) as RunJson;
    assert.deepEqual([told.after, told.changed, told.diff], [null, null, null]);
    assert.equal(told.goBack, `espd restore ${device.board.mac}@${told.before.id}`);
    assert.equal(told.error?.code, 'port-missing');
    assert.equal(status, 3);
  });

  test('where the board cannot be backed up, the command is not run', async (t) => {
    const runs = await Runs.open(t);
    const device = await runs.bench.addBoard({ family: 'esp32', jedec: [0xff, 0xff, 0xff] });
    const seen = join(runs.bench.folder, 'seen');
    const result = await runs.run(['--port', device.address, '--', 'sh', '-c', `touch '${seen}'`]);
    checkError(result, 'flash-unknown');
    assert.match(result.stderr, /The command was not run/);
    await assert.rejects(readFile(seen));
    assert.equal(device.board.mode, 'app');
  });

  test('a command that is missing, or is none, is found out before any board is touched', async (t) => {
    const runs = await Runs.open(t);
    const { bench } = runs;
    const device = await bench.addBoard({ family: 'esp32' });
    const text = join(bench.folder, 'notes.txt');
    await writeFile(text, 'no program', { mode: 0o644 });
    const port = ['--port', device.address];
    for (const words of [['no-such-program-here'], ['/no/such/program'], [text], [bench.folder], ['']]) {
      checkError(await runs.run([...port, '--', ...words]), 'usage');
    }
    for (const args of [[], ['--', 'true'], [...port, '--mac', device.board.mac, '--', 'true'], [...port, '--']]) {
      checkError(await runs.run(args), 'usage');
    }
    assert.deepEqual(device.board.commands, []);
  });
});
