/** Remotes of the config: what they may be called, what they are as ports, and what the listing makes of them. */

import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { createPortLister } from '../../src/serial/listing.ts';
import type { PortInfo } from '../../src/serial/ports.ts';
import {
  type Remote,
  remoteAddress,
  remoteNameProblem,
  remotePorts,
  remoteUrlProblem,
} from '../../src/serial/remotes.ts';
import { decide, touchExisting } from '../../src/serial/rules.ts';
import { PortWatcher } from '../../src/serial/watcher.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';
import { silentLogger } from '../../src/log.ts';
import { CP2102, FakeSystem } from './fake-system.ts';

const DESK: Remote = { name: 'desk', url: 'rfc2217://pi:4001' };
const NO_RULES = { allow: [], deny: [] };
const serialList = () => Promise.resolve([]);

describe('what a remote may be', () => {
  test('names: letters, digits and little else; never what a port of this machine is called', () => {
    for (const good of ['desk', 'bench-1', '2', 'A.b_c', 'x'.repeat(32), 'ty', 'coma', 'com']) {
      assert.equal(remoteNameProblem(good), undefined, good);
    }
    for (const bad of [
      ...['', '.', '-x', '_x', 'a b', 'a/b', '/dev/x', 'C:\\x', 'ä', 'x'.repeat(33), 'rfc2217://pi:1', 'a\n'],
      ...['ttyUSB0', 'ttyACM1', 'TTYS0', 'cu.usbserial', 'COM3', 'com12', '\u001b[31m', 'a\0', 'desk\u202e'],
    ]) {
      assert.match(remoteNameProblem(bad) ?? '', /^wants /, JSON.stringify(bad));
    }
  });

  test('addresses: of RFC 2217, whole, and of one spelling', () => {
    for (const [url, address] of [
      ['rfc2217://pi:4001', 'rfc2217://pi:4001'],
      ['RFC2217://Pi.Example.ORG:04001/', 'rfc2217://pi.example.org:4001'],
      ['rfc2217://10.0.0.7:1?ign_set_control', 'rfc2217://10.0.0.7:1'],
      ['rfc2217://[FD00::1]:65535', 'rfc2217://[fd00::1]:65535'],
    ] as const) {
      assert.equal(remoteUrlProblem(url), undefined, url);
      assert.equal(remoteAddress(url), address);
    }
    for (const bad of [
      ...['', 'pi:4001', '/dev/ttyUSB0', 'socket://pi:4001', 'http://pi:80', 'rfc2217://pi', 'rfc2217://pi:0'],
      ...[
        'rfc2217://pi:65536',
        'rfc2217://:4001',
        'rfc2217://user@pi:4001',
        'rfc2217://p\u001bi:4001',
        'rfc2217://pí:1',
      ],
      ...['rfc2217://pi:4001?x', 'rfc2217://-pi:4001', 'rfc2217://pi:4001\n', ' rfc2217://pi:4001', 'rfc2217://p"i:1'],
      ...['rfc2217://[::1%25]:1', `rfc2217://${'x'.repeat(300)}:1`],
    ]) {
      assert.match(remoteUrlProblem(bad) ?? '', /^wants rfc2217:/, JSON.stringify(bad));
    }
  });

  test('whatever passes can be printed and typed, and is its own spelling', () => {
    const part = fc.oneof(
      fc.constantFrom('rfc2217://', ':', '/', '?', '[', ']', '.', 'pi', '4001', '\u001b'),
      fc.string({ unit: 'binary', maxLength: 3 }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const text = parts.join('');
        if (remoteNameProblem(text) === undefined) assert.match(text, /^[\w.-]+$/);
        if (remoteUrlProblem(text) !== undefined) return;
        const address = remoteAddress(text);
        assert.match(address, /^rfc2217:\/\/[\x21-\x7e]+:\d+$/);
        assert.equal(remoteAddress(address), address);
      }),
    );
  });
});

describe('a remote in the listing', () => {
  test('is a port, as long as it is in the config', async () => {
    using system = new FakeSystem();
    system.plug(CP2102);
    let remotes: readonly Remote[] = [];
    const list = createPortLister({ ...system.roots, serialList, remotes: () => remotes });
    assert.equal((await list()).length, 1);
    remotes = [DESK, { name: 'shelf', url: 'rfc2217://PI:4002' }];
    const [bridge, ...others] = await list();
    assert.equal(bridge?.name, undefined);
    assert.deepEqual(others, remotePorts(remotes));
    assert.deepEqual(
      others.map(({ address, name, aliases, fromFolder, usb }) => [address, name, aliases, fromFolder, usb]),
      [
        ['rfc2217://pi:4001', 'desk', ['desk'], false, null],
        ['rfc2217://pi:4002', 'shelf', ['shelf'], false, null],
      ],
    );
    remotes = [];
    assert.equal((await list()).length, 1);
  });

  test('is one port with a link in a folder to the same server, which comes and goes without a plug-in', async () => {
    using system = new FakeSystem();
    const folder = join(system.root, 'ports');
    mkdirSync(folder);
    const list = createPortLister({ ...system.roots, serialList, folders: [folder], remotes: () => [DESK] });
    const [alone] = await list();
    symlinkSync('RFC2217://Pi:4001', join(folder, 'kitchen'));
    const [port, ...others] = await list();
    assert.deepEqual([others, port?.key, port?.fromFolder], [[], alone?.key, false]);
    assert.deepEqual(port?.aliases, ['desk', join(folder, 'kitchen')]);
    rmSync(join(folder, 'kitchen'));
    assert.deepEqual(await list(), [alone]);
  });
});

describe('rules for a remote', () => {
  const [port] = remotePorts([DESK]) as [PortInfo];

  test('it is touched, also where it was there at the start, unless the config says otherwise', () => {
    const decision = decide(port, NO_RULES);
    assert.deepEqual([decision.touch, decision.known], [true, 'remote']);
    assert.deepEqual(
      (['known', 'all', 'none'] as const).map((policy) => touchExisting(decision, policy)),
      [true, true, false],
    );
  });

  test('it is denied by its name or its address', () => {
    for (const path of ['desk', 'DESK', 'rfc2217://pi:*']) {
      assert.equal(decide(port, { allow: [], deny: [{ path }] }).touch, false, path);
    }
    assert.equal(decide(port, { allow: [], deny: [{ path: '/dev/*' }, { path: 'des' }] }).touch, true);
  });
});

test('a config that is read again: remotes come, go and change their names, and no other port is touched', async () => {
  const clock = new VirtualClock({ automatic: false });
  let remotes: readonly Remote[] = [DESK];
  const told: string[] = [];
  const watcher = new PortWatcher({
    list: () => Promise.resolve(remotePorts(remotes)),
    sources: [],
    clock,
    log: silentLogger,
    onEvent: ({ kind, port, existing }) =>
      told.push(`${kind} ${port.name ?? ''} ${port.address}${existing ? ' existing' : ''}`),
  });
  const changesTo = async (next: readonly Remote[]) => {
    remotes = next;
    told.length = 0;
    await watcher.rescan('config');
    return [...told];
  };
  await watcher.start();
  assert.deepEqual(told, ['attached desk rfc2217://pi:4001 existing']);
  assert.deepEqual(await changesTo([DESK]), []);
  assert.deepEqual(await changesTo([{ name: 'desk', url: 'RFC2217://PI:4001/' }]), []);
  assert.deepEqual(await changesTo([{ ...DESK, name: 'bench' }]), ['renamed bench rfc2217://pi:4001']);
  assert.deepEqual(await changesTo([{ ...DESK, name: 'bench' }]), []);
  assert.deepEqual(await changesTo([{ name: 'bench', url: 'rfc2217://pi:4002' }]), [
    'detached bench rfc2217://pi:4001',
    'attached bench rfc2217://pi:4002',
  ]);
  assert.deepEqual(await changesTo([]), ['detached bench rfc2217://pi:4002']);
  await watcher.close();
  clock.clear();
});
