/** Rights on ports, groups, and who holds a port. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkGroups } from '../../src/doctor/groups.ts';
import { checkPorts } from '../../src/doctor/ports.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { type Machine, RUNNING_SERVICE, lines, usbPort } from './machine.ts';
import { factsOf, said } from './subject.ts';

const PORT = '/dev/ttyUSB0';
const one = { listPorts: () => Promise.resolve([usbPort(PORT)]) };
const node = { [PORT]: { kind: 'device', gid: 20, mode: 0o660 } } as const;
const GROUPS = 'root:x:0:\ndialout:x:20:bob\nespd:x:994:\n';
const USERS = 'root:x:0:0::/:/bin/sh\nespd:x:994:994::/:/bin/false\n';
const service = { systemctl: { stdout: lines(RUNNING_SERVICE) } };
const commandIn = (findings: Awaited<ReturnType<typeof checkPorts>>) =>
  findings.map(({ remedy }) => (remedy === undefined ? '' : commandOf(remedy, false)));

test('no port: nothing to say against it, and no program is asked', async () => {
  const log: string[] = [];
  const findings = await checkPorts(factsOf({ log }));
  assert.deepEqual(said(findings), [
    'ok port-rights: No port of a board is there now: rights on ports are checked when one is',
  ]);
  assert.deepEqual(log, []);
});

test('ports that the rules leave alone are not looked at', async () => {
  const stick = { ...usbPort('/dev/ttyUSB1'), usb: { ...usbPort('x').usb!, product: 'Sonoff Zigbee 3.0' } };
  const [finding] = await checkPorts(factsOf({}, { listPorts: () => Promise.resolve([stick]) }));
  assert.match(finding?.title ?? '', /^No port/);
});

test('what access(2) allows is allowed, whatever the mode says: an ACL of uaccess counts', async () => {
  const findings = await checkPorts(factsOf({ stats: { [PORT]: { mode: 0o600 } } }, one));
  assert.deepEqual(said(findings), [
    `ok port-rights: ada may open ${PORT}`,
    'ok port-holders: No program holds a port of a board',
  ]);
});

test('no right: the group to join, to log in again for, or the rules', async () => {
  const machine: Machine = { refused: { [PORT]: 'EACCES' }, stats: node, files: { '/etc/group': GROUPS } };
  const join = await checkPorts(factsOf(machine, one));
  assert.equal(said(join)[0], `problem port-rights: ada may not open ${PORT}`);
  assert.equal(commandIn(join)[0], 'sudo usermod -aG dialout ada');

  const again = await checkPorts(factsOf({ ...machine, person: { name: 'bob' } }, one));
  assert.match(again[0]?.detail ?? '', /log in again/);
  assert.equal(commandIn(again)[0], 'newgrp dialout');

  const rules = await checkPorts(factsOf({ ...machine, stats: { [PORT]: { gid: 0, mode: 0o600 } } }, one));
  assert.match(
    commandIn(rules)[0] ?? '',
    /^sudo install -D -m 644 .*70-espd\.rules && sudo udevadm control --reload && /,
  );
});

test('a port that went away meanwhile is no lack of rights', async () => {
  const [finding] = await checkPorts(factsOf({ refused: { [PORT]: 'ENOENT' } }, one));
  assert.equal(finding?.status, 'ok');
});

test('the service: by its groups, those of its unit, and an ACL; where it may, a user who may not is a note', async () => {
  const files = { '/etc/group': GROUPS, '/etc/passwd': USERS };
  const machine: Machine = { refused: { [PORT]: 'EACCES' }, stats: node, files, programs: service };
  assert.deepEqual(said(await checkPorts(factsOf(machine, one))).slice(0, 2), [
    `note port-rights: ada may not open ${PORT}`,
    `ok port-rights-service: The service (user espd) may open ${PORT}`,
  ]);
  const bare = { systemctl: { stdout: lines({ ...RUNNING_SERVICE, SupplementaryGroups: '' }) } };
  const denied = await checkPorts(factsOf({ stats: node, files, programs: bare }, one));
  assert.equal(said(denied)[1], `problem port-rights-service: The service (user espd) may not open ${PORT}`);
  assert.equal(commandIn(denied)[1], 'sudo usermod -aG dialout espd');
  const acl = { getfacl: { stdout: 'user::rw-\nuser:994:rw-\ngroup::---\nmask::rw-\nother::---\n' } };
  const byAcl = await checkPorts(factsOf({ stats: node, files, programs: { ...bare, ...acl } }, one));
  assert.equal(byAcl[1]?.status, 'ok');
  const unknown = await checkPorts(factsOf({ stats: node, programs: service }, one));
  assert.match(said(unknown)[1] ?? '', /^note port-rights-service: .*cannot be checked: its user is not in/);
});

test('holders: another program is a note, espd itself is none, ModemManager is a problem', async () => {
  const holding = async (name: string) => {
    const findings = await checkPorts(factsOf({ holders: { [PORT]: { pid: 7, name } } }, one));
    return said(findings).at(-1);
  };
  assert.equal(await holding('minicom'), `note port-holders: ${PORT} is in use by minicom (pid 7)`);
  assert.equal(await holding('espd'), `ok port-holders: ${PORT} is in use by espd itself (pid 7)`);
  assert.match((await holding('ModemManager')) ?? '', /^problem port-holders: ModemManager holds/);
});

test('groups: in this session, in the database alone, in neither, and where there are none', async () => {
  const files = { '/etc/group': GROUPS };
  const groups = async (machine: Machine) =>
    said(await checkGroups(factsOf({ files, stats: node, ...machine }, one)))[0];
  assert.equal(await groups({ person: { gids: [1000, 20] } }), 'ok groups: ada is in group dialout');
  const late = 'problem groups: bob is in group dialout, but not in this session: log in again';
  assert.equal(await groups({ person: { name: 'bob' } }), late);
  assert.equal(await groups({}), 'note groups: ada is not in group dialout');
  assert.equal(await groups({ person: { uid: 0, name: 'root' } }), 'ok groups: root needs no group');
  assert.match((await groups({ person: { uid: null } })) ?? '', /cannot be checked/);
  assert.match((await groups({ person: { name: '' } })) ?? '', /cannot be checked: user 1000 has no name/);
  assert.match((await groups({ files: {}, stats: {} })) ?? '', /cannot be checked: no group of serial ports/);
  const withService = await groups({ person: { gids: [20] }, programs: service });
  assert.equal(withService, 'note groups: ada is not in group espd');
});

test('groups of a directory service count beside those of /etc/group', async () => {
  const machine: Machine = {
    files: { '/etc/group': 'dialout:x:20:\n' },
    programs: { getent: { stdout: 'dialout:*:20:ada\n' } },
  };
  assert.match(said(await checkGroups(factsOf(machine)))[0] ?? '', /^problem groups: ada is in group dialout, but/);
});
