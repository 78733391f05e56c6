import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { systemClock } from '../../src/clock.ts';
import { silentLogger } from '../../src/log.ts';
import { HotplugUnavailable, type HotplugSource } from '../../src/serial/hotplug/source.ts';
import type { UsbFacts } from '../../src/serial/link.ts';
import type { PortEvent, PortInfo } from '../../src/serial/ports.ts';
import { createPortWatcher, PortWatcher } from '../../src/serial/watcher.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { CP2102, ESP32_C3, FakeSystem, recordingLogger } from './fake-system.ts';

const USB: UsbFacts = {
  vendorId: '10c4',
  productId: 'ea60',
  serialNumber: null,
  manufacturer: null,
  product: null,
  location: '1-1:1.0',
};

function port(address: string, key = `${address}#1`, more: Partial<PortInfo> = {}): PortInfo {
  return { address, key, usb: USB, fromFolder: false, ...more };
}

class FakeSource implements HotplugSource {
  readonly name = 'fake';
  closed = false;
  hint: (reason: string) => void = () => assert.fail('not started');
  readonly #failure: Error | undefined;
  constructor(failure?: Error) {
    this.#failure = failure;
  }
  start(onHint: (reason: string) => void): Promise<void> {
    this.hint = onHint;
    return this.#failure === undefined ? Promise.resolve() : Promise.reject(this.#failure);
  }
  close(): Promise<void> {
    this.closed = true;
    return Promise.resolve();
  }
}

/** A watcher whose listing is `listing`, on a clock that stands still. */
function setUp(options: { sources?: FakeSource[]; onEvent?: (event: PortEvent) => void } = {}) {
  const clock = new VirtualClock({ automatic: false });
  const { log, at } = recordingLogger();
  const events: PortEvent[] = [];
  const state = {
    listing: [] as PortInfo[],
    looks: 0,
    list: (): Promise<PortInfo[]> => Promise.resolve(state.listing),
  };
  const sources = options.sources ?? [];
  const watcher = new PortWatcher({
    list: () => {
      state.looks++;
      return state.list();
    },
    sources,
    clock,
    log,
    onEvent: (event) => {
      events.push(event);
      options.onEvent?.(event);
    },
  });
  const told = () => events.splice(0).map((e) => `${e.kind} ${e.port.address}${e.existing ? ' existing' : ''}`);
  /** Lets time pass in small steps, with everything that follows from each. */
  const pass = async (ms: number, stepMs = 10) => {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await clock.advance(Math.min(stepMs, ms - passed));
      await settle();
    }
  };
  return { clock, log, at, state, watcher, told, pass, sources };
}

async function settle(): Promise<void> {
  for (let turns = 0; turns < 5; turns++) await turn();
}

describe('events', () => {
  test('ports that are there at the start are marked, later ones are not', async () => {
    const { state, watcher, told } = setUp();
    state.listing = [port('/dev/ttyUSB0'), port('/dev/ttyUSB1')];
    await watcher.start();
    assert.deepEqual(told(), ['attached /dev/ttyUSB0 existing', 'attached /dev/ttyUSB1 existing']);
    state.listing = [port('/dev/ttyUSB1'), port('/dev/ttyUSB2')];
    await watcher.rescan('test');
    assert.deepEqual(told(), ['detached /dev/ttyUSB0', 'attached /dev/ttyUSB2']);
    assert.deepEqual(watcher.ports, state.listing);
    await watcher.rescan('test');
    assert.deepEqual(told(), []);
    await watcher.close();
  });

  test('a re-plug between two looks is detached, then attached', async () => {
    const { state, watcher, told } = setUp();
    state.listing = [port('/dev/ttyUSB0', 'first')];
    await watcher.start();
    told();
    state.listing = [port('/dev/ttyUSB0', 'second')];
    await watcher.rescan('test');
    assert.deepEqual(told(), ['detached /dev/ttyUSB0', 'attached /dev/ttyUSB0']);
    await watcher.close();
  });

  test('late facts are told, lost facts are kept, aliases alone are no event', async () => {
    const { state, watcher, told } = setUp();
    state.listing = [port('/dev/ttyUSB0', 'k', { usb: null })];
    await watcher.start();
    told();
    state.listing = [port('/dev/ttyUSB0', 'k')];
    await watcher.rescan('test');
    assert.deepEqual(told(), ['detached /dev/ttyUSB0', 'attached /dev/ttyUSB0']);
    state.listing = [port('/dev/ttyUSB0', 'k', { usb: null })];
    await watcher.rescan('test');
    assert.deepEqual(told(), []);
    assert.deepEqual(watcher.ports[0]?.usb, USB);
    state.listing = [port('/dev/ttyUSB0', 'k', { aliases: ['/x'] })];
    await watcher.rescan('test');
    assert.deepEqual(told(), []);
    state.listing = [port('/dev/ttyUSB0', 'other key', { usb: null })];
    await watcher.rescan('test');
    assert.deepEqual(told(), ['detached /dev/ttyUSB0', 'attached /dev/ttyUSB0']);
    assert.equal(watcher.ports[0].usb, null);
    await watcher.close();
  });

  test('an error of the receiver is logged and stops nothing', async () => {
    const { state, watcher, told, at } = setUp({
      onEvent: () => {
        throw new Error('receiver');
      },
    });
    state.listing = [port('/a'), port('/b')];
    await watcher.start();
    assert.deepEqual(told(), ['attached /a existing', 'attached /b existing']);
    assert.equal(at('error').length, 2);
    await watcher.close();
  });

  test('played back, the events always give the last listing, each change once', async () => {
    const listings = fc.array(
      fc.uniqueArray(fc.record({ name: fc.constantFrom('/a', '/b', '/c', '/d'), key: fc.constantFrom('1', '2') }), {
        selector: (entry) => entry.name,
      }),
    );
    await fc.assert(
      fc.asyncProperty(listings, async (sequence) => {
        const there = new Map<string, string>();
        const { state, watcher } = setUp({
          onEvent: ({ kind, port: { address, key } }) => {
            if (kind === 'attached') {
              assert.equal(there.has(address), false);
              there.set(address, key);
            } else {
              assert.equal(there.get(address), key);
              there.delete(address);
            }
          },
        });
        await watcher.start();
        for (const listing of sequence) {
          state.listing = listing.map(({ name, key }) => port(name, key));
          await watcher.rescan('test');
          assert.deepEqual([...there].sort(), listing.map(({ name, key }) => [name, key]).sort());
        }
        await watcher.close();
      }),
      { numRuns: 100 },
    );
  });
});

describe('listings that fail', () => {
  test('keep the last state, are logged once, and are over when one succeeds', async () => {
    const { state, watcher, told, at, pass } = setUp();
    state.listing = [port('/dev/ttyUSB0')];
    await watcher.start();
    told();
    const works = state.list;
    state.list = () => Promise.reject(new Error('no'));
    await pass(20_000, 500);
    assert.deepEqual(told(), []);
    assert.equal(watcher.ports.length, 1);
    assert.equal(at('warn').length, 1);
    state.list = works;
    state.listing = [];
    await pass(5000, 500);
    assert.deepEqual(told(), ['detached /dev/ttyUSB0']);
    assert.equal(at('info').length, 1);
    await watcher.close();
  });

  test('at the start do not turn ports that are there into new ones', async () => {
    const { state, watcher, told, pass } = setUp();
    const works = state.list;
    state.list = () => Promise.reject(new Error('no'));
    state.listing = [port('/dev/ttyUSB0')];
    await watcher.start();
    assert.deepEqual(told(), []);
    state.list = works;
    await pass(5000, 500);
    assert.deepEqual(told(), ['attached /dev/ttyUSB0 existing']);
    await watcher.close();
  });

  test('that never end are given up', async () => {
    const { state, watcher, told, pass, at } = setUp();
    await watcher.start();
    const works = state.list;
    state.list = () => new Promise(() => undefined);
    await pass(21_000, 500);
    assert.equal(at('warn').length, 1);
    state.list = works;
    state.listing = [port('/late')];
    await pass(21_000, 500);
    assert.deepEqual(told(), ['attached /late']);
    await watcher.close();
  });
});

describe('hints', () => {
  test('cause three looks, at 50 ms, 300 ms and 1 s; without any there is one every 5 s', async () => {
    const source = new FakeSource();
    const { clock, state, watcher, pass } = setUp({ sources: [source] });
    const times: number[] = [];
    const list = state.list;
    state.list = () => {
      times.push(clock.now());
      return list();
    };
    await watcher.start();
    await pass(2000);
    const begin = clock.now();
    times.length = 0;
    source.hint('usb attach');
    source.hint('usb attach');
    await pass(11_010);
    assert.deepEqual(
      times.map((time) => time - begin),
      [50, 300, 1000, 6000, 11_000],
    );
    await watcher.close();
  });

  test('a port is told at the look that shows it, however late udev is', async () => {
    const source = new FakeSource();
    const { state, watcher, told, pass } = setUp({ sources: [source] });
    await watcher.start();
    await pass(2000);
    source.hint('usb attach');
    await pass(280);
    assert.deepEqual(told(), []);
    state.listing = [port('/dev/ttyACM0')];
    await pass(20);
    assert.deepEqual(told(), ['attached /dev/ttyACM0']);
    await watcher.close();
  });

  test('a flood of hints neither starves nor multiplies the looks', async () => {
    const source = new FakeSource();
    const { state, watcher, told, pass } = setUp({ sources: [source] });
    await watcher.start();
    await pass(2000);
    state.looks = 0;
    for (let i = 0; i < 500; i++) {
      for (let j = 0; j < 10; j++) source.hint('flood');
      if (i === 250) state.listing = [port('/dev/ttyUSB0')];
      await pass(10);
      if (i === 276) assert.deepEqual(told(), ['attached /dev/ttyUSB0']);
    }
    assert.ok(state.looks >= 15 && state.looks <= 22, `${state.looks} looks in 5 s`);
    await pass(1000);
    const after = state.looks;
    await pass(4000);
    assert.equal(state.looks, after, 'quiet again');
    await watcher.close();
  });

  test('one during a slow look is not lost', async () => {
    const source = new FakeSource();
    const { state, watcher, told, pass } = setUp({ sources: [source] });
    await watcher.start();
    await pass(2000);
    let finish: (ports: PortInfo[]) => void = () => undefined;
    const works = state.list;
    state.list = () => new Promise((resolve) => (finish = resolve));
    source.hint('first');
    await pass(50);
    state.list = works;
    state.listing = [port('/dev/ttyUSB0')];
    source.hint('second');
    finish([]);
    await pass(260);
    assert.deepEqual(told(), ['attached /dev/ttyUSB0']);
    await watcher.close();
  });

  test('one during an idle look is not delayed', async () => {
    const source = new FakeSource();
    const { state, watcher, told, pass } = setUp({ sources: [source] });
    await watcher.start();
    await pass(1000);
    let finish: (ports: PortInfo[]) => void = () => undefined;
    const works = state.list;
    state.list = () => new Promise((resolve) => (finish = resolve));
    await pass(5000);
    state.list = works;
    state.listing = [port('/dev/ttyUSB0')];
    source.hint('plugged');
    finish([]);
    await pass(60);
    assert.deepEqual(told(), ['attached /dev/ttyUSB0']);
    await watcher.close();
  });

  test('sources that do not work are logged once and hold nothing up', async () => {
    const sources: [FakeSource, FakeSource, FakeSource] = [
      new FakeSource(new Error('no netlink')),
      new FakeSource(new HotplugUnavailable('no USB')),
      new FakeSource(),
    ];
    const { state, watcher, told, pass, at } = setUp({ sources });
    await watcher.start();
    await settle();
    assert.equal(at('warn').length, 1);
    assert.equal(at('info').length, 1);
    await pass(2000);
    state.listing = [port('/dev/ttyUSB0')];
    sources[2].hint('works');
    await pass(50);
    assert.deepEqual(told(), ['attached /dev/ttyUSB0']);
    assert.equal(at('warn', 'info').length, 2);
    await watcher.close();
  });

  test('with no source at all the regular look finds everything', async () => {
    const { state, watcher, told, pass } = setUp();
    await watcher.start();
    state.listing = [port('/dev/ttyUSB0')];
    await pass(5000);
    assert.deepEqual(told(), ['attached /dev/ttyUSB0']);
    await watcher.close();
  });
});

describe('close', () => {
  test('ends everything: timers, sources, events', async () => {
    const source = new FakeSource();
    const { clock, state, watcher, told, pass } = setUp({ sources: [source] });
    await watcher.start();
    source.hint('pending');
    await watcher.close();
    assert.equal(source.closed, true);
    assert.equal(clock.pendingTimers, 0);
    state.listing = [port('/dev/ttyUSB0')];
    source.hint('late');
    await watcher.rescan('late');
    await pass(20_000, 1000);
    assert.deepEqual(told(), []);
    await watcher.close();
  });

  test('during a look: its result is not told any more', async () => {
    const { state, watcher, told, clock } = setUp();
    await watcher.start();
    let finish: (ports: PortInfo[]) => void = () => undefined;
    state.list = () => new Promise((resolve) => (finish = resolve));
    const look = watcher.rescan('test');
    await settle();
    await watcher.close();
    finish([port('/dev/ttyUSB0')]);
    await look;
    assert.deepEqual(told(), []);
    assert.equal(clock.pendingTimers, 0);
  });

  test('by the receiver of an event: no further one comes', async () => {
    const { state, watcher, told } = setUp({ onEvent: () => void watcher.close() });
    state.listing = [port('/a'), port('/b')];
    await watcher.start();
    assert.deepEqual(told(), ['attached /a existing']);
  });

  test('a watcher is started once', async () => {
    const { watcher } = setUp();
    await watcher.start();
    await assert.rejects(watcher.start());
    await watcher.close();
    await assert.rejects(watcher.start());
  });
});

describe('the whole, on a made-up system', { timeout: 20_000 }, () => {
  /** Events as they come; `next` waits for the one that fits. */
  function collect() {
    const seen: string[] = [];
    let wake: () => void = () => undefined;
    const onEvent = ({ kind, port: { address }, existing }: PortEvent) => {
      seen.push(`${kind} ${address}${existing ? ' existing' : ''}`);
      wake();
    };
    const next = async (wanted: string) => {
      while (!seen.includes(wanted)) await new Promise<void>((resolve) => (wake = resolve));
      seen.splice(0, seen.indexOf(wanted) + 1);
    };
    return { onEvent, next };
  }

  test('boards in /dev and links in a folder that does not exist yet', async () => {
    using system = new FakeSystem();
    mkdirSync(join(system.sysRoot, 'bus/usb'), { recursive: true });
    system.plug(CP2102);
    const folder = join(system.root, 'run/espd/ports');
    const { onEvent, next } = collect();
    const watcher = createPortWatcher({
      ...system.roots,
      folders: [folder],
      remotes: () => [],
      clock: systemClock,
      log: silentLogger,
      onEvent,
    });
    await watcher.start();
    await next(`attached ${join(system.devRoot, 'ttyUSB0')} existing`);
    system.plug(ESP32_C3);
    await next(`attached ${join(system.devRoot, 'ttyACM0')}`);
    mkdirSync(folder, { recursive: true });
    symlinkSync('rfc2217://127.0.0.1:4000', join(folder, 'kitchen'));
    await next('attached rfc2217://127.0.0.1:4000');
    rmSync(join(folder, 'kitchen'));
    await next('detached rfc2217://127.0.0.1:4000');
    system.unplug(CP2102);
    await next(`detached ${join(system.devRoot, 'ttyUSB0')}`);
    await watcher.close();
  });

  test('after close nothing keeps the process alive', async () => {
    using system = new FakeSystem();
    mkdirSync(join(system.sysRoot, 'bus/usb'), { recursive: true });
    const script = join(system.root, 'script.mts');
    const source = (path: string) => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
    writeFileSync(
      script,
      `import { createPortWatcher } from ${source('serial/watcher.ts')};
       import { systemClock } from ${source('clock.ts')};
       import { silentLogger } from ${source('log.ts')};
       const watcher = createPortWatcher({
         ...${JSON.stringify(system.roots)},
         folders: ${JSON.stringify([system.folder('here'), join(system.root, 'not/here')])},
         clock: systemClock, log: silentLogger, onEvent: () => undefined,
       });
       await watcher.start();
       if (process.argv[2] === 'later') await new Promise((resolve) => setTimeout(resolve, 300));
       await watcher.close();
       console.log('closed');`,
    );
    const run = promisify(execFile);
    for (const when of ['at once', 'later']) {
      const argv = ['--import', import.meta.resolve('tsx'), script, when];
      const { stdout, stderr } = await run(process.execPath, argv, { timeout: 15_000 });
      assert.deepEqual([stdout, stderr], ['closed\n', ''], when);
    }
  });
});
