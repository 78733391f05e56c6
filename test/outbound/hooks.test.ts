import assert from 'node:assert/strict';
import { readFile, writeFile, chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, describe, it } from 'node:test';
import type { HookConfig } from '../../src/config/outbound.ts';
import { KEPT_OUTPUT_BYTES, runHook, type HookEnd } from '../../src/outbound/hook-run.ts';
import { Hooks, MAX_WAITING_RUNS } from '../../src/outbound/hooks.ts';
import { systemClock } from '../../src/clock.ts';
import { collectingLog, failedEvent, newBus, until } from './support.ts';

const LIMIT = { timeout: 60_000 };

/** Runs a program of Node's with real time, and a limit that only a program that never ends reaches. */
function run(script: string, options: { timeoutMs?: number; stdin?: string; signal?: AbortSignal } = {}) {
  const { timeoutMs = 30_000, stdin = '{"type":"x"}\n', signal = new AbortController().signal } = options;
  return runHook({
    command: [process.execPath, '-e', script],
    env: { PATH: process.env['PATH'], ESPD_EVENT: 'x' },
    ...{ stdin, timeoutMs, signal, clock: systemClock },
  });
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'espd-hooks-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Whether it has ended; a zombie that nobody has reaped yet has. */
async function hasEnded(pid: number): Promise<boolean> {
  if (!isAlive(pid)) return true;
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat === '' || / Z /.test(stat.slice(stat.lastIndexOf(')')));
}

async function untilEnded(pid: number): Promise<void> {
  while (!(await hasEnded(pid))) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe('a run of a hook', () => {
  it('gives the event on standard input, the arguments as they are, and no shell between', LIMIT, async () => {
    const script = 'process.stdin.pipe(process.stdout);process.stderr.write(process.argv[1]+process.env.ESPD_EVENT)';
    const stdin = `${JSON.stringify({ port: '$(id) "; rm' })}\n`;
    const end = await runHook({
      command: [process.execPath, '-e', script, '$HOME; `id` *'],
      env: { ESPD_EVENT: 'job-failed' },
      ...{ stdin, timeoutMs: 30_000, signal: new AbortController().signal, clock: systemClock },
    });
    assert.equal(end.result, 'done', end.reason);
    assert.ok(end.output.includes(stdin));
    assert.ok(end.output.includes('$HOME; `id` *job-failed'));
  });

  it('says how it ended', LIMIT, async () => {
    const status = await run('console.log("why");process.exit(7)');
    assert.deepEqual(status, { result: 'failed', reason: 'it ended with status 7', output: 'why\n' });
    const signal = await run('process.kill(process.pid,"SIGKILL")');
    assert.deepEqual(signal, { result: 'failed', reason: 'it was ended by SIGKILL', output: '' });
  });

  it('says that a program is missing or may not be run', LIMIT, async (t) => {
    const path = join(await folder(t), 'hook');
    const options = {
      ...{ env: {}, stdin: '', timeoutMs: 30_000, signal: new AbortController().signal, clock: systemClock },
    };
    const missing = await runHook({ command: [path], ...options });
    assert.deepEqual(missing, { result: 'failed', reason: `there is no program ${path}`, output: '' });
    await writeFile(path, '#!/bin/sh\n');
    await chmod(path, 0o600);
    const denied = await runHook({ command: [path], ...options });
    assert.deepEqual(denied, { result: 'failed', reason: `${path} may not be run by this user`, output: '' });
    const bad = await runHook({ command: ['a\0b'], ...options });
    assert.equal(bad.result, 'failed');
  });

  it('ends one that hangs, and one that ignores SIGTERM', LIMIT, async () => {
    const polite = await run('setInterval(()=>{},1000)', { timeoutMs: 50 });
    assert.deepEqual(polite, { result: 'failed', reason: 'it took longer than 0.05 s', output: '' });
    const stubborn = await run(
      'process.on("SIGTERM",()=>console.log("no"));setInterval(()=>{},1000);console.log("up")',
      { timeoutMs: 1500 },
    );
    assert.equal(stubborn.result, 'failed');
    assert.ok(/longer than 1.5 s/.test(stubborn.reason));
  });

  it('ends what it has started, though that holds the pipes open', LIMIT, async (t) => {
    const file = join(await folder(t), 'pid');
    const inner = `require("fs").writeFileSync(${JSON.stringify(file)},String(process.pid));setInterval(()=>{},1000)`;
    const script =
      `require("child_process").spawn(process.execPath,["-e",${JSON.stringify(inner)}],{stdio:"inherit"});` +
      `setInterval(()=>{if(require("fs").existsSync(${JSON.stringify(file)})&&` +
      `require("fs").readFileSync(${JSON.stringify(file)},"utf8"))process.exit(0)},10)`;
    const end = await run(script);
    assert.deepEqual(end, { result: 'done', reason: '', output: '' });
    await untilEnded(Number(await readFile(file, 'utf8')));
  });

  it('ends one that floods, and keeps the beginning', LIMIT, async () => {
    const end = await run('const b="x".repeat(65536);for(;;)require("fs").writeSync(1,b)');
    assert.equal(end.result, 'failed');
    assert.equal(end.output, 'x'.repeat(KEPT_OUTPUT_BYTES));
  });

  it('does not mind one that closes its input, however much there is of it', LIMIT, async () => {
    const end = await run('require("fs").closeSync(0);setTimeout(()=>{},50)', { stdin: 'x'.repeat(4 << 20) });
    assert.deepEqual(end, { result: 'done', reason: '', output: '' });
  });

  it('is ended at once when the service stops', LIMIT, async () => {
    const stop = new AbortController();
    const running = run('setInterval(()=>{},1000)', { signal: stop.signal });
    stop.abort();
    assert.deepEqual(await running, { result: 'failed', reason: 'the service stops', output: '' });
    assert.equal((await run('', { signal: stop.signal })).reason, 'the service stops');
  });
});

describe('hooks', () => {
  const hook = (command: string, on: HookConfig['on'] = ['job-failed']): HookConfig => ({
    ...{ on, command: [command], timeoutSeconds: 5 },
  });

  function setUp() {
    const { bus, clock } = newBus();
    const { lines, log } = collectingLog();
    const runs: { command: string; event: string; end: (end?: Partial<HookEnd>) => void; signal: AbortSignal }[] = [];
    const outcomes: string[] = [];
    const hooks = new Hooks({
      ...{ clock, log, env: { A: 'b' }, onEnd: (outcome) => outcomes.push(outcome) },
      run: ({ command, stdin, signal, env }) =>
        new Promise((resolve) => {
          assert.equal(env['A'], 'b');
          const { type, seq } = JSON.parse(stdin) as { type: string; seq: number };
          assert.equal(env['ESPD_EVENT'], type);
          const end = (changes: Partial<HookEnd> = {}) =>
            resolve({ result: 'done', reason: '', output: '', ...changes });
          signal.addEventListener('abort', () => end({ result: 'failed', reason: 'the service stops' }));
          runs.push({ command: command[0]!, event: `${seq} ${type}`, end, signal });
        }),
    });
    bus.subscribe(hooks.onEvent);
    return { bus, clock, hooks, lines, outcomes, runs };
  }

  it('run one at a time, in order, for the events that they want', LIMIT, async () => {
    const { bus, hooks, outcomes, runs } = setUp();
    hooks.apply([hook('a', ['job-failed', 'disk-low']), hook('b')]);
    bus.emit(failedEvent());
    bus.emit({ type: 'port-detached', port: 'x' });
    bus.emit({ type: 'disk-low', path: '/', freeBytes: 1, wantedBytes: 2 });
    assert.equal(runs.length, 0, 'nothing is started in the time of the one who tells');
    for (let n = 0; n < 3; n++) {
      await until(() => runs.length === n + 1);
      runs[n]!.end();
    }
    await until(() => outcomes.length === 3);
    assert.deepEqual(
      runs.map(({ command, event }) => [command, event]),
      [
        ['a', '1 job-failed'],
        ['b', '1 job-failed'],
        ['a', '3 disk-low'],
      ],
    );
    hooks.apply([]);
    bus.emit(failedEvent());
    await hooks.stop();
    assert.equal(runs.length, 3);
  });

  it('log a failure, and what was said only at debug, printable', LIMIT, async () => {
    const { bus, hooks, lines, runs } = setUp();
    hooks.apply([hook('a')]);
    bus.emit(failedEvent());
    await until(() => runs.length === 1);
    runs[0]!.end({ result: 'failed', reason: 'it ended with status 7', output: 'bad \x1b[2J\n' });
    await until(() => lines.length === 2);
    assert.deepEqual(
      lines.map(({ level }) => level),
      ['warn', 'debug'],
    );
    assert.deepEqual(lines[0]!.fields, { hook: 'a', event: 'job-failed', reason: 'it ended with status 7' });
    assert.equal(lines[1]!.fields['output'], 'bad \\u{1b}[2J');
  });

  it('drop the oldest where they cannot keep up, and say so once', LIMIT, async () => {
    const { bus, hooks, lines, outcomes, runs } = setUp();
    hooks.apply([hook('a')]);
    bus.emit(failedEvent());
    await until(() => runs.length === 1);
    for (let n = 0; n < MAX_WAITING_RUNS + 10; n++) bus.emit(failedEvent());
    assert.equal(outcomes.filter((outcome) => outcome === 'dropped').length, 10);
    assert.equal(lines.filter(({ level }) => level === 'warn').length, 1);
    runs[0]!.end();
    await until(() => runs.length === 2);
    assert.equal(runs[1]!.event, '12 job-failed');
  });

  it('end within the time of a stop, with what waits', LIMIT, async () => {
    const { bus, clock, hooks, runs } = setUp();
    hooks.apply([hook('a')]);
    for (let n = 0; n < 5; n++) bus.emit(failedEvent());
    await until(() => runs.length === 1);
    const stopped = hooks.stop();
    bus.emit(failedEvent());
    await clock.advance(2000);
    await stopped;
    assert.equal(runs.length, 1);
    assert.equal(clock.pendingTimers, 0);
  });
});
