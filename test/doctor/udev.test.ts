/** udev rules, ModemManager and brltty, by what they do. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { checkBrltty, checkModemManager } from '../../src/doctor/grabbers.ts';
import { commandOf } from '../../src/doctor/types.ts';
import { checkUdev } from '../../src/doctor/udev.ts';
import { type Machine, RUNNING_SERVICE, lines, usbPort } from './machine.ts';
import { PACKAGE, ROOT, factsOf, said } from './subject.ts';

const OURS = `${PACKAGE}/systemd/udev/70-espd.rules`;
const INSTALLED = '/etc/udev/rules.d/70-espd.rules';
const RULES = readFileSync(join(ROOT, 'systemd/udev/70-espd.rules'), 'utf8');
const PORT = '/dev/ttyUSB0';
const ports = (...addresses: string[]) => ({
  listPorts: () => Promise.resolve(addresses.map((address) => usbPort(address))),
});
const info = (address: string, properties: Record<string, string>) => ({
  [`udevadm info --query=property --name=${address}`]: { stdout: lines(properties) },
});
const version = { 'udevadm --version': { stdout: '252\n' } };

async function rules(files: Record<string, string>, machine: Machine = {}, others = {}) {
  const facts = factsOf({ programs: version, ...machine, files: { [OURS]: RULES, ...files } }, others);
  const findings = await checkUdev(facts);
  return { said: said(findings), command: findings.map(({ remedy }) => remedy && commandOf(remedy, false)).at(-1) };
}

test('rules: current, missing, changed, masked', async () => {
  assert.deepEqual((await rules({ [INSTALLED]: RULES })).said, [
    `ok udev-rules: The udev rules are installed and current: ${INSTALLED}`,
  ]);
  const none = await rules({});
  assert.deepEqual(none.said, ['note udev-rules: The udev rules of espd are not installed']);
  assert.equal(
    none.command,
    `sudo install -D -m 644 --backup=numbered -t /etc/udev/rules.d ${OURS} && ` +
      'sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty',
  );
  const service = { programs: { ...version, systemctl: { stdout: lines(RUNNING_SERVICE) } } };
  assert.match((await rules({}, service)).said[0] ?? '', /^problem udev-rules/);
  // One byte is enough.
  assert.match((await rules({ [INSTALLED]: `${RULES} ` })).said[0] ?? '', /^note udev-rules: The udev rules differ/);
  const packaged = await rules({ '/usr/lib/udev/rules.d/70-espd.rules': 'old' });
  assert.equal(packaged.command, 'sudo apt-get install --reinstall espd');
  const masked = await rules({}, { programs: version, links: { [INSTALLED]: '/dev/null' } });
  assert.match(masked.said[0] ?? '', /^note udev-rules: The udev rules are masked/);
});

test('rules in /etc take the place of those of a package, as udev has it', async () => {
  const { said: lines_ } = await rules({ [INSTALLED]: RULES, '/usr/lib/udev/rules.d/70-espd.rules': 'old' });
  assert.match(lines_[0] ?? '', /^ok/);
});

test('rules that are not applied to a port', async () => {
  const machine = (mark: string) => ({ programs: { ...version, ...info(PORT, { ID_ESPD: mark }) } });
  assert.equal((await rules({ [INSTALLED]: RULES }, machine('1'), ports(PORT))).said.length, 1);
  const { said: lines_ } = await rules({ [INSTALLED]: RULES }, machine(''), ports(PORT));
  assert.equal(lines_[1], `note udev-applied: The udev rules are not applied to ${PORT}`);
});

test('no udev, another system, an unreadable file: a note that says so', async () => {
  assert.deepEqual((await rules({}, { programs: {} })).said, [
    'note udev-rules: udev rules: cannot be checked: udevadm is not on this machine',
  ]);
  assert.match((await rules({}, { platform: 'darwin' })).said[0] ?? '', /cannot be checked: no udev on darwin/);
  const failing = { programs: { 'udevadm --version': { status: 3, stderr: 'no\nmore' } } };
  assert.match((await rules({}, failing)).said[0] ?? '', /cannot be checked: udevadm ended with 3: no$/);
  const hanging = { programs: { udevadm: { outcome: 'failed', why: 'did not answer within 5000 ms' } as const } };
  assert.match((await rules({}, hanging)).said[0] ?? '', /udevadm did not answer/);
  const closed = { programs: version, refused: { [INSTALLED]: 'EACCES' } };
  assert.match(
    (await rules({}, closed)).said[0] ?? '',
    /cannot be checked: .*70-espd\.rules cannot be read \(EACCES\)/,
  );
});

async function modemManager(marks: Record<string, Record<string, string>>, machine: Machine = {}) {
  const programs = Object.fromEntries(
    Object.entries(marks).flatMap(([port, marked]) => Object.entries(info(port, marked))),
  );
  const running = { found: true, value: [{ pid: 5, name: 'ModemManager' }] } as const;
  return said(await checkModemManager(factsOf({ running, programs, ...machine }, ports(...Object.keys(marks)))));
}

test('ModemManager: by the properties that udev gives each port', async () => {
  const ignored = { ID_MM_PORT_IGNORE: '1', ID_ESPD: '1' };
  assert.deepEqual(await modemManager({ [PORT]: ignored }), [
    'ok modem-manager: ModemManager runs, and ignores the ports of boards',
  ]);
  assert.match((await modemManager({ [PORT]: { ID_MM_DEVICE_IGNORE: '1' } }))[0] ?? '', /^ok/);
  assert.match(
    (await modemManager({ [PORT]: { ID_MM_PORT_IGNORE: '0' } }))[0] ?? '',
    /^note modem-manager: .*not told to ignore/,
  );
  const both = await modemManager({ [PORT]: {}, '/dev/ttyACM0': { DEVNAME: '/dev/ttyACM0' } });
  assert.deepEqual(both, ['problem modem-manager: ModemManager probes /dev/ttyACM0']);
});

test('ModemManager that does not run, or of which nothing can be told', async () => {
  assert.deepEqual(await modemManager({ [PORT]: {} }, { running: { found: true, value: [] } }), [
    'ok modem-manager: ModemManager does not run',
  ]);
  assert.match((await modemManager({}))[0] ?? '', /^ok .*no port of a board is there/);
  const [noProc] = await modemManager({ [PORT]: {} }, { running: { found: false, code: 'ENOENT' } });
  assert.match(noProc ?? '', /^note .*cannot be checked: no \/proc/);
  const [noUdev] = await modemManager({ [PORT]: {} }, { programs: {} });
  assert.match(noUdev ?? '', /^note .*cannot be checked: udevadm is not on this machine/);
});

const BRLTTY = '/usr/lib/udev/rules.d/85-brltty.rules';
const CLAIM = 'ENV{PRODUCT}=="1a86/7523/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm", GOTO="brltty_usb_run"\n';

test('brltty: rules that claim every bridge of a kind are a problem, others are none', async () => {
  const brltty = async (text: string, machine: Machine = {}) =>
    said(await checkBrltty(factsOf({ files: { [BRLTTY]: text }, ...machine })))[0];
  assert.equal(await brltty(CLAIM), 'problem brltty: brltty takes bridges of ESP boards: CH340');
  // The ids of FTDI are written without leading zeros.
  assert.match((await brltty('ENV{PRODUCT}=="403/6001/*", ENV{BRLTTY_BRAILLE_DRIVER}="at"\n')) ?? '', /FT232R/);
  assert.equal(await brltty(`# ${CLAIM}`), 'ok brltty: brltty takes no port');
  assert.match((await brltty('ENV{PRODUCT}=="904/2000/*", ENV{BRLTTY_BRAILLE_DRIVER}="bm"\n')) ?? '', /^ok/);
  assert.match((await brltty(`ATTRS{manufacturer}=="Hedo", ${CLAIM}`)) ?? '', /^ok/);
  const running = { found: true, value: [{ pid: 5, name: 'brltty' }] } as const;
  assert.equal(await brltty('', { running }), 'ok brltty: brltty runs, and claims no bridge of ESP boards');
  // An empty file in /etc masks that of the package.
  assert.match(
    (await brltty('', { files: { '/etc/udev/rules.d/85-brltty.rules': '', [BRLTTY]: CLAIM } })) ?? '',
    /^ok/,
  );
  assert.match((await brltty('', { platform: 'darwin' })) ?? '', /cannot be checked/);
});

test('brltty that has a board already: its bridge is driven through usbfs and has no port', async () => {
  const usb = '/sys/bus/usb/devices';
  const files = { [BRLTTY]: CLAIM, [`${usb}/1-2/idVendor`]: '1a86\n', [`${usb}/1-2/idProduct`]: '7523\n' };
  const links = { [`${usb}/1-2:1.0/driver`]: '../../bus/usb/drivers/usbfs' };
  assert.equal(
    said(await checkBrltty(factsOf({ files, links })))[0],
    'problem brltty: brltty has taken the CH340 at USB 1-2: it has no port',
  );
});
