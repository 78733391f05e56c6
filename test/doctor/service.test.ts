/** The service: state, version, unit, network, socket. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { serviceConfigPath } from '../../src/doctor/facts.ts';
import { configSchema } from '../../src/config/schema.ts';
import { DROP_IN, checkNetwork, hostsOf, judgeNetwork } from '../../src/doctor/network.ts';
import { checkService, judgeState, judgeUnit, judgeVersion, programOf } from '../../src/doctor/service.ts';
import { checkSocket, judgeSocket } from '../../src/doctor/socket.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { type Machine, RUNNING_SERVICE, lines, networkPort } from './machine.ts';
import { PACKAGE, ROOT, factsOf, loadedConfig, said } from './subject.ts';

const UNIT = readFileSync(join(ROOT, 'systemd/espd.service'), 'utf8');
const UNIT_PATH = '/etc/systemd/system/espd.service';
const state = (change: Record<string, string>) =>
  judgeState(new Map(Object.entries({ ...RUNNING_SERVICE, ...change })));

test('state: running, and each way not to', () => {
  assert.deepEqual(said([state({ StatusText: 'waiting' })]), ['ok service: The service runs']);
  assert.equal(state({ LoadState: 'not-found' }).status, 'ok');
  const cases: [Record<string, string>, RegExp][] = [
    [{ LoadState: 'masked' }, /^note service: .*masked/],
    [{ LoadState: 'bad-setting', LoadError: 'x' }, /^problem service: systemd cannot load/],
    [{ ActiveState: 'failed', Result: 'exit-code', ExecMainStatus: '2' }, /^problem service: .*its config has a fault/],
    [
      { ActiveState: 'failed', Result: 'exit-code', ExecMainStatus: '1' },
      /^problem service: The service has failed: exit-code 1/,
    ],
    [{ ActiveState: 'failed', Result: 'watchdog' }, /^problem service: The service has failed: watchdog$/],
    [
      { ActiveState: 'activating', SubState: 'auto-restart', NRestarts: '9' },
      /^problem service: .*again and again: 9 restarts/,
    ],
    [{ ActiveState: 'inactive' }, /^problem service: .*does not run \(inactive\)/],
    [{ NRestarts: '3' }, /^note service: .*restart it 3 times/],
    [{ NRestarts: '1' }, /^note service: .*restart it once/],
    [{ UnitFileState: 'disabled' }, /^note service: .*does not start with the machine/],
  ];
  for (const [change, wanted] of cases) assert.match(said([state(change)])[0] ?? '', wanted);
});

test('state: hostile words of systemd make no fault', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom(...Object.keys(RUNNING_SERVICE)), fc.string({ unit: 'binary' })),
      (change) => {
        assert.match(state(change).status, /^(?:ok|note|problem)$/);
      },
    ),
  );
});

test('version: the same, another, older than what is installed, unknown', () => {
  const facts = {
    version: '0.1.0',
    installed: '0.1.0',
    program: '/usr/local/bin/espd',
    installedMs: 10,
    startedMs: 20,
  };
  assert.equal(judgeVersion(facts)[0]?.status, 'ok');
  assert.match(
    said(judgeVersion({ ...facts, installed: '0.2.0' }))[0] ?? '',
    /^note .*The service is espd 0.2.0, this is 0.1.0/,
  );
  assert.match(said(judgeVersion({ ...facts, startedMs: 5 }))[0] ?? '', /^note .*runs an older espd/);
  assert.match(
    said(judgeVersion({ ...facts, installed: null }))[0] ?? '',
    /cannot be checked: it starts \/usr\/local\/bin\/espd/,
  );
  assert.equal(judgeVersion({ ...facts, startedMs: null })[0]?.status, 'ok');
});

test('what the unit starts', () => {
  const start = RUNNING_SERVICE['ExecStart'] ?? '';
  assert.deepEqual([programOf(start), serviceConfigPath(start)], ['/usr/local/bin/espd', '/etc/espd/config.yaml']);
  assert.equal(serviceConfigPath('{ path=/x ; argv[]=/x daemon --config=/srv/a.yaml ; }'), '/srv/a.yaml');
  assert.deepEqual([programOf(''), serviceConfigPath('')], ['', '/etc/espd/config.yaml']);
});

test('unit: comments and the folder of the program may differ, nothing else', () => {
  const judge = (text: string, path = UNIT_PATH, dropIns: string[] = []) =>
    judgeUnit(path, text, UNIT, dropIns, PACKAGE);
  assert.equal(judge(UNIT).status, 'ok');
  assert.equal(judge(UNIT.replace('/usr/local/bin/espd', '/usr/bin/espd').replaceAll(/^#.*\n/gm, '')).status, 'ok');
  assert.match(judge(UNIT, UNIT_PATH, ['/x/a.conf']).detail ?? '', /Changed by \/x\/a\.conf/);
  const old = judge(UNIT.replace('WatchdogSec=60', 'WatchdogSec=30'));
  assert.equal(old.status, 'note');
  assert.match(old.detail ?? '', /without \[Service\] WatchdogSec=60 and with \[Service\] WatchdogSec=30/);
  assert.match(old.remedy ? commandOf(old.remedy, true) : '', /^install -D .* && systemctl daemon-reload$/);
  const packaged = judge('', '/usr/lib/systemd/system/espd.service');
  assert.equal(packaged.remedy && commandOf(packaged.remedy, true), 'apt-get install --reinstall espd');
  // The same line in another section is another setting.
  assert.equal(judge(UNIT.replace('[Service]', '[Install]')).status, 'note');
});

const BOOTED = { '/proc/stat': 'btime 1000\n', '/proc/77/stat': `77 (node) S ${'0 '.repeat(18)}100 0` };
const installed: Machine = {
  programs: { systemctl: { stdout: lines(RUNNING_SERVICE) } },
  files: {
    ...{ [UNIT_PATH]: UNIT, [`${PACKAGE}/systemd/espd.service`]: UNIT, ...BOOTED },
    [`${PACKAGE}/package.json`]: '{"name": "espd", "version": "0.1.0"}',
  },
  links: { '/usr/local/bin/espd': '../lib/node_modules/espd/dist/main.js' },
};

test('the whole service, through links, files and /proc', async () => {
  assert.deepEqual(said(await checkService(factsOf(installed))), [
    'ok service: The service runs',
    'ok service-version: The service is of this version: 0.1.0',
    `ok service-unit: The unit is that of this espd: ${UNIT_PATH}`,
  ]);
  const late = { changedMs: 1_001_001 };
  const stats = { [UNIT_PATH]: late, [`${PACKAGE}/package.json`]: late };
  assert.deepEqual(said(await checkService(factsOf({ ...installed, stats }))).slice(1), [
    'note service-version: The service runs an older espd',
    `ok service-unit: The unit is that of this espd: ${UNIT_PATH}`,
    `note service-restart: The service has not been restarted since ${UNIT_PATH} changed`,
  ]);
  const reload = { systemctl: { stdout: lines({ ...RUNNING_SERVICE, NeedDaemonReload: 'yes' }) } };
  const [, , unit] = await checkService(factsOf({ ...installed, programs: reload }));
  assert.deepEqual(
    [unit?.status, unit?.remedy && commandOf(unit.remedy, false)],
    ['note', 'sudo systemctl daemon-reload'],
  );
  const files = { ...installed.files, [UNIT_PATH]: undefined as never };
  const [, , gone] = await checkService(factsOf({ ...installed, files }));
  assert.match(gone?.title ?? '', /cannot be checked/);
});

test('no systemd: a note, and no false problem', async () => {
  for (const machine of [
    {},
    { platform: 'darwin' as const },
    { programs: { systemctl: { status: 1, stderr: 'Failed to connect to bus: Host is down' } } },
    { programs: { systemctl: { outcome: 'failed', why: 'did not answer within 5000 ms' } as const } },
    { programs: { systemctl: { stdout: '\u001b[2Jgarbage' } } },
  ]) {
    assert.match(
      said(await checkService(factsOf(machine))).join('|'),
      /^note service: The service: cannot be checked: [^|]+$/,
    );
    assert.deepEqual(await checkNetwork(factsOf(machine)), []);
  }
});

const families = { RestrictAddressFamilies: 'AF_UNIX AF_NETLINK AF_INET AF_INET6' };
const network = (hosts: string[], change: Record<string, string>) =>
  judgeNetwork(hosts, new Map(Object.entries({ ...RUNNING_SERVICE, ...change })))[0];

test('network: closed as installed, and the drop-in that opens it', () => {
  const closed = network(['192.168.1.7'], {});
  assert.equal(closed?.status, 'problem');
  assert.equal(
    closed.remedy && commandOf(closed.remedy, false),
    "sudo mkdir -p /etc/systemd/system/espd.service.d && printf '%s\\n' '[Service]' 'RestrictAddressFamilies=AF_INET AF_INET6' " +
      `IPAddressAllow=192.168.1.7 | sudo tee ${DROP_IN} && sudo systemctl daemon-reload`,
  );
  assert.match(JSON.stringify(network(['pi'], {})?.remedy), /IPAddressAllow=any/);
  // What is there already is never replaced.
  assert.equal(network(['pi'], { DropInPaths: DROP_IN })?.remedy?.safe, false);
});

test('network: what is allowed passes before what is denied', () => {
  assert.equal(network(['192.168.1.7'], { ...families, IPAddressAllow: '192.168.1.0/24' })?.status, 'ok');
  assert.equal(network(['192.168.2.7'], { ...families, IPAddressAllow: '192.168.1.0/24' })?.status, 'problem');
  assert.equal(network(['fd00::1', '10.0.0.1'], { ...families, IPAddressAllow: '::/0 0.0.0.0/0' })?.status, 'ok');
  assert.equal(network(['10.0.0.1'], { ...families, IPAddressDeny: '' })?.status, 'ok');
  assert.equal(network(['10.0.0.1'], { RestrictAddressFamilies: '', IPAddressDeny: '' })?.status, 'ok');
  assert.equal(
    network(['10.0.0.1'], { RestrictAddressFamilies: '~AF_INET6 AF_INET', IPAddressDeny: '' })?.status,
    'problem',
  );
  assert.equal(
    network(['10.0.0.1'], { ...families, IPAddressAllow: '10.0.0.1/99 x/8 10.0.0.1/-1' })?.status,
    'problem',
  );
  assert.equal(network(['pi'], { ...families, IPAddressAllow: '10.0.0.0/8' })?.status, 'ok');
  // A page that was of this machine alone, and is open to all now: the drop-in of before is not enough.
  for (const IPAddressAllow of ['127.0.0.1', '127.0.0.0/8 ::1/128']) {
    assert.equal(network(['browsers at [::]:8266'], { ...families, IPAddressAllow })?.status, 'problem');
    assert.equal(network(['localhost'], { ...families, IPAddressAllow })?.status, 'ok');
  }
  assert.equal(network(['pi'], { ...families, IPAddressAllow: '127.0.0.1 10.0.0.1' })?.status, 'ok');
});

test('network: only boards of the config that the service reads count', async () => {
  const others = { listPorts: () => Promise.resolve([networkPort('rfc2217://pi:4001')]) };
  assert.match(said(await checkNetwork(factsOf(installed, others)))[0] ?? '', /^problem service-network: .*for pi$/);
  const elsewhere = { ...others, loaded: loadedConfig('/srv/other.yaml') };
  assert.match(said(await checkNetwork(factsOf(installed, elsewhere)))[0] ?? '', /^note .*not that of the service/);
  assert.match(
    said(await checkNetwork(factsOf(installed)))[0] ?? '',
    /^ok service-network: No board, server or store is on the network/,
  );
  const { webhooks, mqtt, store } = configSchema.parse({
    webhooks: [
      { on: ['pruned'], url: 'https://ntfy.example.org/x' },
      { on: ['pruned'], url: 'http://[fd00::1]:8080/' },
    ],
    mqtt: { url: 'mqtt://ha.local' },
    store: { endpoint: 'https://s3.example.net:9000', bucket: 'boards', encryption: 'none' },
  });
  const told = loadedConfig(undefined, (config) => ({ ...config, webhooks, mqtt, store }));
  const [asked] = await checkNetwork(factsOf(installed, { loaded: told }));
  assert.match(
    said([asked!])[0] ?? '',
    /^problem service-network: .*for ntfy\.example\.org, fd00::1, ha\.local and 1 more$/,
  );
  assert.deepEqual(hostsOf(['rfc2217://pi:1', 'socket://[::1]:2', 'rfc2217://pi:3', '/dev/ttyUSB0', 'rfc2217://']), [
    'pi',
    '::1',
  ]);
});

test('socket: each way in which a connection ends', async () => {
  const facts = { path: '/run/espd/espd.sock', isOther: false, serviceRuns: true, person: 'ada', isMember: false };
  const judge = (state: string, change: object = {}) => judgeSocket({ ...facts, state, ...change })[0];
  assert.equal(judge('open')?.status, 'ok');
  const denied = judge('EACCES');
  assert.deepEqual(
    [denied?.status, denied?.remedy && commandOf(denied.remedy, false)],
    ['problem', 'sudo usermod -aG espd ada'],
  );
  const again = judge('EACCES', { isMember: true });
  assert.equal(again?.remedy && commandOf(again.remedy, false), 'newgrp espd');
  assert.equal(judge('ENOENT')?.status, 'note');
  assert.equal(judge('ENOENT', { serviceRuns: false })?.status, 'ok');
  assert.match(judge('ECONNREFUSED')?.title ?? '', /No daemon listens/);
  // Of a plain file the kernel says the same, and nothing may be told to replace it.
  const other = judge('ECONNREFUSED', { isOther: true });
  assert.deepEqual([other?.status, other?.remedy?.safe ?? false], ['problem', false]);
  assert.match(other?.title ?? '', /is no socket/);
  assert.equal(judge('timeout')?.status, 'problem');
  assert.match(judge('EPROTOTYPE')?.title ?? '', /cannot be reached .*\(EPROTOTYPE\)/);
  assert.equal((await checkSocket(factsOf({ socket: 'open' })))[0]?.status, 'ok');
  assert.equal((await checkSocket(factsOf({})))[0]?.status, 'ok');
});
