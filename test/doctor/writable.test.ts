/** Where the service may write, by what systemd says of its unit. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkWritable, judgeWritable } from '../../src/doctor/writable.ts';
import { RUNNING_SERVICE, lines } from './machine.ts';
import { ROOT, factsOf, loadedConfig, said } from './subject.ts';

/** What the unit of espd says, as systemd shows it. */
const UNIT = {
  ProtectSystem: 'strict',
  ProtectHome: 'yes',
  ReadWritePaths: '-/run/lock',
  StateDirectory: 'espd',
};
const ADAS = join('/', 'home/ada/boards');
const ROOTS = join('/', 'root/boards');
const judge = (folders: readonly string[], change: Readonly<Record<string, string>> = {}) =>
  judgeWritable(folders, new Map(Object.entries({ ...UNIT, ...change })));

test('the settings that are judged here are those of the unit', () => {
  const unit = readFileSync(join(ROOT, 'systemd/espd.service'), 'utf8');
  for (const [key, value] of Object.entries(UNIT)) assert.match(unit, new RegExp(`^${key}=${value}$`, 'm'));
});

test('the folder of the service itself, and what a drop-in opens', () => {
  for (const [folder, change] of [
    ['/var/lib/espd', {}],
    ['/var/lib/espd/archive', {}],
    ['/run/lock/x', {}],
    ['/srv/espd', { ReadWritePaths: '-/run/lock /srv/espd' }],
    ['/srv/espd/deep', { ReadWritePaths: '+/srv' }],
    ['/srv/espd', { ProtectSystem: 'full' }],
    ['/srv/espd', { ProtectSystem: 'no' }],
    [ADAS, { ProtectHome: 'no', ReadWritePaths: ADAS }],
    ['/var/lib/boards', { StateDirectory: 'espd boards' }],
    ['/', { ProtectSystem: 'no' }],
  ] as const) {
    assert.deepEqual(
      said(judge([folder], change)),
      [`ok service-writable: The service may write to ${folder}`],
      folder,
    );
  }
});

test('what it may not write to is named; a folder beside an open one is not open', () => {
  const [finding] = judge(['/var/lib/espd2', '/var/lib/espd']);
  assert.deepEqual(said([finding!]), ['problem service-writable: The service may not write to /var/lib/espd2']);
  assert.deepEqual(finding!.remedy?.steps[0], {
    kind: 'write',
    path: '/etc/systemd/system/espd.service.d/espd-archive.conf',
    text: '[Service]\nReadWritePaths=/var/lib/espd2\n',
    root: true,
  });
  for (const folder of ['/etc/espd', '/usr/share/espd']) {
    assert.match(said(judge([folder], { ProtectSystem: 'full' }))[0] ?? '', /^problem /, folder);
  }
});

test('a person decides where more than a folder would be opened, or a name has signs of unit files', () => {
  const own = { DropInPaths: '/etc/systemd/system/espd.service.d/espd-archive.conf' };
  for (const [folder, change, detail] of [
    [ADAS, {}, /ReadWritePaths= and ProtectHome=no/],
    [ROOTS, { ReadWritePaths: ROOTS }, /ProtectHome=no/],
    ['/srv/my boards', {}, /ReadWritePaths=/],
    ['/srv/100%', {}, /ReadWritePaths=/],
    ['/srv/espd', own, /ReadWritePaths=/],
  ] as const) {
    const [finding] = judge([folder], change);
    assert.equal(finding!.status, 'problem', folder);
    assert.equal(finding!.remedy?.safe, false, folder);
    assert.match(finding!.detail ?? '', detail);
  }
});

test('only of the config that the service reads', async () => {
  const programs = { systemctl: { stdout: lines({ ...RUNNING_SERVICE, ...UNIT }) } };
  const at = (config?: string) =>
    loadedConfig(config, (x) => ({ ...x, archive: { ...x.archive, path: '/srv/espd', statePath: '/var/lib/espd' } }));
  assert.deepEqual(said(await checkWritable(factsOf({ programs }, { loaded: at() }))), [
    'problem service-writable: The service may not write to /srv/espd',
  ]);
  assert.deepEqual(await checkWritable(factsOf({ programs }, { loaded: at('/srv/other.yaml') })), []);
  assert.deepEqual(await checkWritable(factsOf({}, { loaded: at() })), []);
});
