import assert from 'node:assert/strict';
import { mkdtemp, rename, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { test, type TestContext } from 'node:test';
import { loadConfig, type LoadedConfig } from '../../src/config/loader.ts';
import { type ConfigWatchOptions, watchConfig } from '../../src/config/reload.ts';
import { systemClock } from '../../src/clock.ts';
import { EspdError } from '../../src/errors.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

/** A config watch whose file, file watcher and time are in the hands of the test. */
async function setUp(overrides: Partial<ConfigWatchOptions> = {}) {
  const nowhere = { env: { HOME: '/nonexistent' }, uid: 1, systemConfigPath: '/nonexistent/config.yaml' };
  const { config } = await loadConfig(nowhere);
  const loaded = (level: 'error' | 'warn' | 'info' | 'debug'): LoadedConfig => ({
    path: '/etc/espd/config.yaml',
    namesArchive: false,
    namesState: false,
    config: { ...structuredClone(config), log: { level, format: 'auto' } },
  });
  const clock = new VirtualClock({ automatic: false });
  const seen: string[] = [];
  const state = { closed: 0, loads: 0, result: loaded('info') as LoadedConfig | Error };
  let hint = () => {};
  let fail: (error: unknown) => void = () => {};
  const watch = watchConfig({
    loaded: loaded('info'),
    load: () => {
      state.loads += 1;
      return state.result instanceof Error ? Promise.reject(state.result) : Promise.resolve(state.result);
    },
    onChange: ({ config }) => seen.push(config.log.level),
    onError: (error) => seen.push(`${error.code} ${error.message}`),
    clock,
    watchFile: (_path, onHint, onError) => {
      hint = onHint;
      fail = onError;
      return { close: () => Promise.resolve(void (state.closed += 1)) };
    },
    ...overrides,
  });
  /** Lets promises settle that hang on nothing but each other. */
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return { watch, loaded, clock, seen, state, settle, hint: () => hint(), fail: (error: unknown) => fail(error) };
}

test('many hints in a row are one load, after quiet', async () => {
  const { state, loaded, hint, clock, seen, settle } = await setUp();
  state.result = loaded('debug');
  for (let index = 0; index < 10; index += 1) {
    hint();
    await clock.advance(100);
  }
  await settle();
  assert.equal(state.loads, 0);
  await clock.advance(1000);
  await settle();
  assert.deepEqual([state.loads, seen], [1, ['debug']]);
});

test('a file that says the same is no change', async () => {
  const { watch, state, loaded, seen } = await setUp();
  await watch.reload();
  state.result = loaded('warn');
  await watch.reload();
  await watch.reload();
  assert.deepEqual([state.loads, seen], [3, ['warn']]);
});

test('a broken file keeps the old config and is told once; the repair is told too', async () => {
  const { watch, state, loaded, seen } = await setUp();
  state.result = new EspdError('config-invalid', 'config.yaml:2:10: no');
  await watch.reload();
  await watch.reload();
  state.result = new EspdError('config-invalid', 'config.yaml:3:10: no');
  await watch.reload();
  state.result = new TypeError('boom');
  await watch.reload();
  state.result = loaded('info');
  await watch.reload();
  await watch.reload();
  assert.deepEqual(seen, [
    'config-invalid config.yaml:2:10: no',
    'config-invalid config.yaml:3:10: no',
    'internal boom',
    'info',
  ]);
});

test('loads do not overlap, and the last one wins', async () => {
  const order: string[] = [];
  const releases: (() => void)[] = [];
  const first = await setUp();
  const { watch, seen, settle } = await setUp({
    load: async () => {
      const number = releases.length;
      order.push(`start ${number}`);
      await new Promise<void>((resolve) => releases.push(resolve));
      order.push(`end ${number}`);
      return first.loaded(number === 0 ? 'warn' : 'error');
    },
    onChange: ({ config }) => order.push(config.log.level),
  });
  const both = [watch.reload(), watch.reload()];
  await settle();
  releases[0]?.();
  await settle();
  releases[1]?.();
  await Promise.all(both);
  assert.deepEqual(order, ['start 0', 'end 0', 'warn', 'start 1', 'end 1', 'error']);
  assert.deepEqual(seen, []);
});

test('a watcher that fails is told, and reload still works', async () => {
  const { watch, state, loaded, fail, seen } = await setUp();
  fail(new Error('ENOSPC: no inotify watches left'));
  state.result = loaded('warn');
  await watch.reload();
  assert.deepEqual(seen, ['internal ENOSPC: no inotify watches left', 'warn']);
});

test('a change that cannot be applied is told, and the next one is tried', async () => {
  const seen: string[] = [];
  const { watch, state, loaded } = await setUp({
    onChange: ({ config }) => {
      if (config.log.level === 'warn') throw new Error('cannot apply');
      seen.push(config.log.level);
    },
    onError: (error) => seen.push(error.message),
  });
  state.result = loaded('warn');
  await watch.reload();
  state.result = loaded('debug');
  await watch.reload();
  assert.deepEqual(seen, ['cannot apply', 'debug']);
});

test('after close nothing is loaded or told', async () => {
  const { watch, state, loaded, hint, clock, seen, settle } = await setUp();
  state.result = loaded('warn');
  hint();
  const late = watch.reload();
  await watch.close();
  await late;
  hint();
  await clock.advance(10_000);
  await watch.reload();
  await settle();
  assert.deepEqual([seen, state.closed, clock.pendingTimers], [[], 1, 0]);
});

test('without a file only reload looks again', async () => {
  const { loaded } = await setUp();
  const { watch, seen, state } = await setUp({
    loaded: { ...loaded('info'), path: null },
    watchFile: () => assert.fail('there is nothing to watch'),
  });
  state.result = loaded('debug');
  await watch.reload();
  assert.deepEqual(seen, ['debug']);
  await watch.close();
});

// The rest uses real files, the real watcher and the real clock; each step waits for its outcome, not for a time.

async function realWatch(context: TestContext, path: string) {
  const options = { path, env: {}, uid: 1 };
  const seen: string[] = [];
  const watch = watchConfig({
    loaded: await loadConfig(options),
    load: () => loadConfig(options),
    onChange: ({ config }) => seen.push(config.log.level),
    onError: (error) => seen.push(`${error.code} ${error.message}`),
    clock: systemClock,
  });
  context.after(() => watch.close());
  /**
   * Does `step` until something is reported: the watcher may not be ready when the first step happens. Repeating a
   * step must not change its outcome.
   */
  const until = async (step: () => Promise<void>, expected: RegExp) => {
    const before = seen.length;
    for (let tries = 0; seen.length === before; tries += 1) {
      assert.ok(tries < 100, `nothing was reported; so far: ${seen.join(' | ')}`);
      if (tries % 10 === 0) await step();
      await pause(100);
    }
    assert.match(seen.at(-1) ?? '', expected);
  };
  return until;
}

async function scratch(context: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'espd-reload-'));
  context.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

const level = (name: string) => `log:\n  level: ${name}\n`;

test('written in place, replaced by rename, broken, deleted and brought back', async (context) => {
  const folder = await scratch(context);
  const path = join(folder, 'config.yaml');
  await writeFile(path, level('info'));
  const until = await realWatch(context, path);
  await until(() => writeFile(path, level('warn')), /^warn$/);
  await until(async () => {
    await writeFile(`${path}.new`, level('debug'));
    await rename(`${path}.new`, path);
  }, /^debug$/);
  await until(() => writeFile(path, level('loud')), /^config-invalid .*config\.yaml:2:10: log\.level wants one of/);
  await until(() => unlink(path).catch(() => undefined), /^config-unreadable .* does not exist$/);
  await until(() => writeFile(path, level('debug')), /^debug$/);
  await until(() => writeFile(path, level('error')), /^error$/);
});

test('a link whose target is replaced is noticed', async (context) => {
  const folder = await scratch(context);
  const path = join(folder, 'config.yaml');
  await writeFile(join(folder, 'a'), level('info'));
  await writeFile(join(folder, 'b'), level('warn'));
  await symlink('a', path);
  const until = await realWatch(context, path);
  await until(async () => {
    await symlink('b', `${path}.new`);
    await rename(`${path}.new`, path);
  }, /^warn$/);
  await until(() => writeFile(join(folder, 'b'), level('debug')), /^debug$/);
});
