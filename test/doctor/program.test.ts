/** Node, packages, clock, config. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkClock, judgeClock, judgeNtp } from '../../src/doctor/clock.ts';
import { checkConfig } from '../../src/doctor/config.ts';
import { NODE_WANTED, checkProgram, judgeNode } from '../../src/doctor/program.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { EspdError } from '../../src/errors.ts';
import { parseConfig } from '../../src/config/parse.ts';
import { loadNativeModules } from '../../src/serial/native-modules.ts';
import { lines } from './machine.ts';
import { ROOT, SERVICE_CONFIG, factsOf, loadedConfig, said } from './subject.ts';

test('Node: what package.json asks for', () => {
  const { engines } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { engines: { node: string } };
  assert.equal(engines.node, `>=${NODE_WANTED.join('.')}`);
  assert.equal(said(judgeNode('20.19.0', '0.1.0', false))[0], 'ok node: espd 0.1.0 on Node 20.19.0');
  assert.equal(
    said(judgeNode('20.18.1', '0.1.0', false))[0],
    'problem node: Node 20.18.1 is too old: espd needs 20.19',
  );
  assert.equal(judgeNode('', '0.1.0', false)[0]?.status, 'problem');
  assert.deepEqual(judgeNode('22.15.0', '0.1.0', true).length, 1);
  assert.match(said(judgeNode('22.14.0', '0.1.0', true))[1] ?? '', /^note zstd: .*gzip is used/);
});

test('packages: serialport is needed, the others are done without', async () => {
  const faults = async (...names: string[]) => {
    const modules = await loadNativeModules((name) =>
      names.includes(name) ? Promise.reject(new Error('wrong ELF class\nat x')) : Promise.resolve(),
    );
    return said(await checkProgram(factsOf({}, { loadModules: () => Promise.resolve(modules) }))).slice(1);
  };
  assert.deepEqual(await faults(), ['ok modules: serialport, usb, koffi: all load']);
  assert.deepEqual(await faults('serialport', 'usb'), [
    'problem modules: The package serialport does not load: wrong ELF class',
    'note modules: The package usb does not load: wrong ELF class',
  ]);
});

test('the packages of this installation are really loaded', async () => {
  const names = (await loadNativeModules()).map(({ name }) => name);
  assert.deepEqual(names, ['serialport', 'usb', 'koffi']);
});

test('clock: a time before espd, before the newest backup, and within what machines differ', () => {
  const now = new Date('2026-11-26T22:00:00Z');
  assert.equal(judgeClock(now, null).status, 'ok');
  assert.equal(judgeClock(now, '2026-11-26T22-04-59Z').status, 'ok');
  assert.match(judgeClock(now, '2026-11-26T22-05-01Z').title, /before the newest backup/);
  assert.equal(judgeClock(now, '2026-11-26T22-05-01Z').status, 'problem');
  assert.equal(judgeClock(new Date(0), null).title, 'The clock is wrong: it shows 1970-01-01T00:00:00Z');
  assert.equal(judgeClock(now, 'no id').status, 'ok');
});

test('clock: whether something sets it', async () => {
  const ntp = (properties: Record<string, string>) => judgeNtp(new Map(Object.entries(properties)));
  assert.equal(ntp({ NTP: 'yes', NTPSynchronized: 'yes' }).status, 'ok');
  assert.match(ntp({ NTP: 'yes', NTPSynchronized: 'no' }).title, /not set by network yet/);
  const off = ntp({ NTP: 'no', CanNTP: 'yes', NTPSynchronized: 'no' });
  assert.deepEqual([off.status, off.remedy && commandOf(off.remedy, false)], ['note', 'sudo timedatectl set-ntp true']);
  assert.equal(ntp({ NTP: 'no', CanNTP: 'no', NTPSynchronized: 'no' }).remedy, undefined);
  assert.match(ntp({}).title, /cannot be checked: timedatectl does not say/);
  assert.match(said(await checkClock(factsOf({})))[1] ?? '', /cannot be checked: timedatectl is not on this machine/);
  const stderr = "System has not been booted with systemd as init system (PID 1). Can't operate.\n";
  const noSystemd = await checkClock(factsOf({ programs: { timedatectl: { status: 1, stderr } } }));
  assert.match(said(noSystemd)[1] ?? '', /^note clock-ntp: .*cannot be checked: systemd does not run here$/);
  const good = { timedatectl: { stdout: lines({ NTPSynchronized: 'yes' }) } };
  assert.match(said(await checkClock(factsOf({ programs: good })))[1] ?? '', /^ok clock-ntp/);
});

test('config: its faults with line and column, and the file to mend', async () => {
  let fault: unknown;
  try {
    parseConfig(Buffer.from('jobs:\n  parallel: 99\nwhat: 1\n'), '/etc/espd/config.yaml');
  } catch (error) {
    fault = error;
  }
  assert.ok(fault instanceof EspdError);
  const [finding] = await checkConfig(factsOf({}, { loaded: fault }));
  assert.equal(finding?.status, 'problem');
  assert.match(finding.detail ?? '', /config\.yaml:2:\d+: .*\n.*config\.yaml:3:1: /);
  assert.equal(finding.remedy && commandOf(finding.remedy, false), 'sudo nano /etc/espd/config.yaml');
  const unreadable = new EspdError('config-unreadable', 'The config file /x does not exist');
  const [missing] = await checkConfig(factsOf({}, { loaded: unreadable }));
  assert.deepEqual(
    [missing?.status, missing?.title, missing?.remedy],
    ['problem', 'The config cannot be read', undefined],
  );
});

test('config: sound, none at all, open to others, folders that are not there', async () => {
  const config = async (mode: number, uid = 0) =>
    (await checkConfig(factsOf({ stats: { [SERVICE_CONFIG]: { mode, uid } } }))).at(-1);
  assert.equal((await config(0o644))?.title, `The config is valid: ${SERVICE_CONFIG}`);
  const open = await config(0o666);
  assert.match(open?.title ?? '', /^Every user may change the config: .* has mode 0666$/);
  assert.deepEqual(open?.remedy && [commandOf(open.remedy, false), open.remedy.safe], [
    `sudo chmod go-w ${SERVICE_CONFIG}`,
    true,
  ]);
  const own = await config(0o660, 1000);
  assert.match(own?.title ?? '', /^The group of the file may change/);
  assert.equal(own?.remedy && commandOf(own.remedy, false), `chmod go-w ${SERVICE_CONFIG}`);
  const none = await checkConfig(factsOf({}, { loaded: loadedConfig(null) }));
  assert.deepEqual(said(none), ['ok config: There is no config file: the defaults are in force']);
  const folders = ['/nowhere/espd-ports'];
  const loaded = loadedConfig(SERVICE_CONFIG, (x) => ({ ...x, watch: { ...x.watch, folders } }));
  assert.match(said(await checkConfig(factsOf({}, { loaded })))[1] ?? '', /^note config-folders: .*does not exist$/);
});
