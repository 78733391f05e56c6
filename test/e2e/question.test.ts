/** Who is asked before flash is written, and who is not: real terminals, and streams that are redirected. */

import assert from 'node:assert/strict';
import { type TestContext, describe, test } from 'node:test';
import { Bench, parseJson, screenOf, until } from '../support/cli.ts';
import { EspdOnTerminal, EspdProcess, type TerminalOptions } from './support.ts';

const MAC = '50:02:91:c3:37:a5';

/** A board that differs from its backup, and the commands that would write to it. */
async function changedBoard(t: TestContext) {
  const bench = await Bench.open(t);
  const { board, address } = await bench.addBoard({ family: 'esp8266', mac: MAC });
  assert.equal((await bench.run(['backup', '--port', address])).status, 0);
  const kept = board.flash.snapshot();
  const change = () => board.flash.load(0x40000, Buffer.alloc(4096, 'changed'));
  change();
  const changed = board.flash.snapshot();
  const restore = ['restore', '--mac', MAC, '--port', address, '--no-color'];
  const isReleased = () => until(() => board.mode === 'app', 'the app runs', 60_000);
  return { bench, board, address, kept, change, changed, restore, isReleased };
}

type Scene = Awaited<ReturnType<typeof changedBoard>>;

/** Starts a restore at a terminal, waits for its question there, and presses `keys`. */
async function asked(t: TestContext, { bench, restore, isReleased }: Scene, keys: string, options?: TerminalOptions) {
  const terminal = await EspdOnTerminal.start(t, bench, restore, options);
  const isAsked = () => terminal.screen.includes('[y/N]');
  await until(() => isAsked() || terminal.hasEnded, 'the question', 60_000);
  assert.ok(isAsked(), `it has ended without a question: ${terminal.screen}${terminal.redirected.stderr}`);
  terminal.press(keys);
  const status = await terminal.status();
  await isReleased();
  return { status, screen: screenOf(terminal.screen.replaceAll(/\x1b\[[0-9;]*[A-Za-z]/g, '')), ...terminal.redirected };
}

describe('the question whether to write', { concurrency: 2, timeout: 300_000 }, () => {
  test('at a terminal: Ctrl-C is 130, Ctrl-D and n write nothing, y writes', async (t) => {
    const scene = await changedBoard(t);
    const { board, changed, kept } = scene;
    const interrupted = await asked(t, scene, '\x03');
    assert.equal(interrupted.status, 130, interrupted.screen);
    assert.match(interrupted.screen, /espd: Interrupted \(interrupted\)/);
    assert.deepEqual(board.flash.snapshot(), changed);
    for (const keys of ['\x04', 'n\r']) {
      const ended = await asked(t, scene, keys);
      assert.equal(ended.status, 5, ended.screen);
      assert.match(ended.screen, /espd: Nothing was written \(declined\)/);
      assert.deepEqual(board.flash.snapshot(), changed);
    }
    const accepted = await asked(t, scene, 'y\r');
    assert.equal(accepted.status, 0, accepted.screen);
    assert.match(accepted.screen, /restored: 1 sector written, whole flash verified by the chip/);
    assert.deepEqual(board.flash.snapshot(), kept);
  });

  const redirections: [string, NonNullable<TerminalOptions['redirect']>][] = [
    ['2>log', { stderr: true }],
    ['echo n |', { stdin: 'n\n' }],
    ['yes |, >out and 2>log', { stdin: 'y\ny\ny\n', stdout: true, stderr: true }],
  ];
  for (const [how, redirect] of redirections) {
    test(`with ${how} the person at the terminal is asked all the same, and is the only one who answers`, async (t) => {
      const scene = await changedBoard(t);
      const { board, changed, kept } = scene;
      const declined = await asked(t, scene, 'n\r', { redirect });
      assert.equal(declined.status, 5, declined.screen + declined.stderr);
      assert.deepEqual(board.flash.snapshot(), changed);
      // Who answers has seen the plan, wherever stderr goes.
      assert.match(declined.screen, /Restore of 50:02:91:c3:37:a5 [^]*1 sector of flash differs/);
      if (redirect.stderr) assert.match(declined.stderr, /Restore of 50:02:91:c3:37:a5[^]*\(declined\)/);
      const accepted = await asked(t, scene, 'y\r', { redirect });
      assert.equal(accepted.status, 0, accepted.screen + accepted.stderr);
      assert.deepEqual(board.flash.snapshot(), kept);
    });
  }

  test('--many is asked about at the terminal too', async (t) => {
    const { bench, board, changed } = await changedBoard(t);
    const terminal = await EspdOnTerminal.start(t, bench, ['restore', '--from', MAC, '--many'], {
      redirect: { stdin: 'y\n', stderr: true },
    });
    await until(() => terminal.screen.includes('Begin? [y/N]'), 'the question', 60_000);
    terminal.press('\x03');
    assert.equal(await terminal.status(), 130, terminal.redirected.stderr);
    assert.deepEqual(board.flash.snapshot(), changed);
  });

  test('who cannot be asked needs --yes: else 5, and no port is opened', async (t) => {
    const { bench, board, address, changed, kept, restore } = await changedBoard(t);
    const before = board.resets;
    const refusal = /There is no terminal at which somebody could be asked[^]*\(declined\)[^]*--yes/;
    for (const args of [restore, ['restore', '--from', MAC, '--many']]) {
      const alone = new EspdProcess(t, bench, args);
      assert.equal(await alone.status(), 5, alone.stderr);
      assert.match(alone.stderr, refusal);
    }
    const inBackground = await EspdOnTerminal.start(t, bench, restore, {
      background: true,
      redirect: { stderr: true },
    });
    assert.equal(await inBackground.status(), 5, inBackground.redirected.stderr);
    assert.match(inBackground.redirected.stderr, refusal);
    const inCi = await EspdOnTerminal.start(t, bench, restore, { env: { CI: 'true' } });
    assert.equal(await inCi.status(), 5, inCi.screen);
    const script = await EspdOnTerminal.start(t, bench, [...restore, '--json'], { redirect: { stdout: true } });
    assert.equal(await script.status(), 5, script.screen);
    assert.equal(parseJson<{ error: { code: string } }>(script.redirected.stdout).error.code, 'declined');
    assert.equal(script.screen, '');
    assert.equal(board.resets, before, 'no port was opened');
    assert.deepEqual(board.flash.snapshot(), changed);

    const look = new EspdProcess(t, bench, ['restore', '--mac', MAC, '--port', address, '--dry-run']);
    assert.equal(await look.status(), 0, look.stderr);
    assert.deepEqual(board.flash.snapshot(), changed);
    const told = new EspdProcess(t, bench, [...restore, '--yes']);
    assert.equal(await told.status(), 0, told.stderr);
    assert.deepEqual(board.flash.snapshot(), kept);
  });

  test('the demo asks nobody, also at a terminal', async (t) => {
    const bench = await Bench.open(t);
    const demo = await EspdOnTerminal.start(t, bench, ['demo']);
    assert.equal(await demo.status(), 0, demo.screen);
    assert.match(demo.screen, /\$ espd restore --mac \S+ --yes/);
    assert.doesNotMatch(demo.screen, /\[y\/N\]/);
  });
});
