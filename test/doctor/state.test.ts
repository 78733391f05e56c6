/** One installation, one state. */

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkState } from '../../src/doctor/state.ts';
import { parseHomes } from '../../src/doctor/parse.ts';
import { type Machine, RUNNING_SERVICE, lines } from './machine.ts';
import { factsOf, loadedConfig, said } from './subject.ts';

const OWN_CONFIG = '/srv/espd.yaml';
const ROOT_HOME = join('/', 'root');
const homeOf = (name: string) => join('/', 'home', name);
const PASSWD = [
  `root:x:0:0:root:${ROOT_HOME}:/bin/sh`,
  `ada:x:1000:1000::${homeOf('ada')}:/bin/sh`,
  `bob:x:1001:1001::${homeOf('bob')}:/bin/sh`,
  '',
].join('\n');
const stateIn = (home: string) => join(home, '.local/state/espd');
const ROOTS = stateIn(ROOT_HOME);
const ADAS = stateIn(homeOf('ada'));

const serviceWith = (config: string, more: Record<string, string> = {}) => ({
  systemctl: {
    stdout: lines({
      ...RUNNING_SERVICE,
      StateDirectory: 'espd',
      ExecStart: `{ path=/usr/local/bin/espd ; argv[]=/usr/local/bin/espd daemon --config ${config} ; ignore_errors=no }`,
      ...more,
    }),
  },
});
const at = (config: string | null, statePath: string, namesState = false) => ({
  ...loadedConfig(config, (x) => ({ ...x, archive: { ...x.archive, path: '/srv/boards', statePath } })),
  namesState,
});
const check = (machine: Machine, loaded = loadedConfig()) =>
  checkState(factsOf({ files: { '/etc/passwd': PASSWD }, ...machine }, { loaded }));

test('the state of the service is that of its StateDirectory, unless the config names one', async () => {
  const programs = serviceWith(OWN_CONFIG);
  const [finding] = await check({ programs }, at(OWN_CONFIG, ADAS));
  assert.deepEqual(said([finding!]), [
    `problem state: Commands without the daemon keep another state than the service: ${ADAS}, not /var/lib/espd`,
  ]);
  assert.match(
    finding?.detail ?? '',
    /Write into \/srv\/espd\.yaml, in the section archive: "statePath: \/var\/lib\/espd"$/,
  );
  assert.deepEqual(await check({ programs }, at(OWN_CONFIG, '/var/lib/espd')), []);
  assert.deepEqual(await check({ programs }, at(OWN_CONFIG, '/srv/state', true)), [], 'named: the service has it too');
  assert.deepEqual(await check({ programs }, at('/srv/another.yaml', ADAS)), [], 'another installation');
  const other = serviceWith(OWN_CONFIG, { StateDirectory: 'boards:link espd' });
  assert.match(
    said(await check({ programs: other }, at(OWN_CONFIG, '/var/lib/espd')))[0] ?? '',
    /, not \/var\/lib\/boards$/,
  );
  const none = serviceWith(OWN_CONFIG, { StateDirectory: '' });
  assert.deepEqual(await check({ programs: none }, at(OWN_CONFIG, ADAS)), []);
});

test('a second state is named: that of root, and of who asks; not those of others', async () => {
  const station = (folder: string) => ({ [`${folder}/replication/station.json`]: '{}' });
  const files = {
    '/etc/passwd': PASSWD,
    ...station(ROOTS),
    ...station(ADAS),
    ...station(stateIn(homeOf('bob'))),
  };
  const findings = await check({ files });
  assert.deepEqual(said(findings), [
    `note state: Beside the state of this installation, /var/lib/espd, another one lies in ${ROOTS}`,
    `note state: Beside the state of this installation, /var/lib/espd, another one lies in ${ADAS}`,
  ]);
  assert.match(findings[0]?.detail ?? '', /^With it this machine is a second station in the object store\./);
  assert.equal(findings[0]?.remedy?.safe, false, 'never removed by --fix');
  assert.deepEqual(await check({ files }, at('/srv/another.yaml', ADAS)), [], "ada's own installation");
});

test('notes of restores are not to be thrown away', async () => {
  const files = { '/etc/passwd': PASSWD, [`${ROOTS}/restores/50-02-91-c3-37-a5/restoring.json`]: '{}' };
  const [finding, more] = await check({ files });
  assert.equal(more, undefined);
  assert.equal(finding?.remedy, undefined);
  assert.match(finding?.detail ?? '', /^It has notes of restores: see in /);
});

test('nothing to say where nothing is left, and of a machine that tells nothing', async () => {
  assert.deepEqual(await check({}), []);
  assert.deepEqual(await check({ files: {} }), []);
});

test('homes out of a passwd file', () => {
  const text = `${PASSWD}toor:x:0:0::${ROOT_HOME}:/bin/sh\nbroken\nx:y:0\nrel:x:0:0::home:/bin/sh\n`;
  assert.deepEqual(parseHomes(text, new Set([0])), [ROOT_HOME]);
  assert.deepEqual(parseHomes(text, new Set([1000, 0])), [ROOT_HOME, homeOf('ada')]);
  assert.deepEqual(parseHomes('', new Set([0])), []);
});
