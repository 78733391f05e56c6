/** The files for systemd and udev: consistent with the code and with each other, and sound to systemd's own tools. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SYSTEM_ARCHIVE_PATH, SYSTEM_CONFIG_PATH } from '../../src/config/loader.ts';
import { EXIT } from '../../src/errors.ts';
import { BRIDGES, ESPRESSIF_VENDOR } from '../../src/serial/usb-ids.ts';

const read = (name: string) => readFileSync(new URL(`../../systemd/${name}`, import.meta.url), 'utf8');
const lines = (text: string) => text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));

/** All values of a key of the unit. */
const setting = (key: string) =>
  lines(read('espd.service')).flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));

test('the unit names the files that the code and the other snippets name', () => {
  assert.deepEqual(setting('ExecStart'), [`/usr/local/bin/espd daemon --config ${SYSTEM_CONFIG_PATH}`]);
  assert.deepEqual(
    setting('StateDirectory').map((name) => `/var/lib/${name}`),
    [SYSTEM_ARCHIVE_PATH],
  );
  assert.deepEqual(setting('User'), ['espd']);
  assert.match(read('sysusers.d/espd.conf'), new RegExp(`^u espd - ".*" ${SYSTEM_ARCHIVE_PATH}$`, 'm'));
  assert.match(read('tmpfiles.d/espd.conf'), new RegExp(`^d ${SYSTEM_ARCHIVE_PATH} 0700 espd espd -$`, 'm'));
  assert.match(read('tmpfiles.d/espd.conf'), new RegExp(`^C ${SYSTEM_CONFIG_PATH} 0644 root root - `, 'm'));
});

test('the unit reads exit statuses as the code gives them', () => {
  assert.deepEqual(setting('SuccessExitStatus'), [String(EXIT.interrupted)]);
  assert.deepEqual(setting('RestartPreventExitStatus'), [String(EXIT.usage)]);
});

test('the unit leaves what Node and serial ports need', () => {
  const [allowed, denied, ...givenBack] = setting('SystemCallFilter');
  assert.ok(allowed?.includes('@pkey'));
  assert.equal(denied, '~@privileged @resources');
  // By which hooks run at nice 10.
  assert.deepEqual(givenBack, ['setpriority']);
  assert.ok(setting('RestrictAddressFamilies')[0]?.includes('AF_NETLINK'));
  for (const harmful of ['MemoryDenyWriteExecute', 'PrivateDevices', 'PrivateNetwork', 'ProcSubset', 'ProtectProc']) {
    assert.deepEqual(setting(harmful), [], harmful);
  }
  assert.deepEqual(setting('DeviceAllow'), ['char-ttyUSB rw', 'char-ttyACM rw', 'char-188 rw', 'char-166 rw']);
});

test('every group of hardening lines has its reason above it', () => {
  const [, hardening = ''] = read('espd.service').split('--- Hardening');
  const [body = ''] = hardening.split('[Install]');
  let hasReason = false;
  for (const line of body.split('\n').slice(1)) {
    if (line.startsWith('#')) hasReason = true;
    else if (line === '') hasReason = false;
    else assert.ok(hasReason, line);
  }
});

test('the udev rules have the ids of the code, no more and no fewer', () => {
  const ids = lines(read('udev/70-espd.rules')).flatMap((line) => {
    const vendor = /ATTRS\{idVendor\}=="(\w+)"/.exec(line)?.[1];
    const products = /ATTRS\{idProduct\}=="([\w|]+)"/.exec(line)?.[1]?.split('|') ?? ['*'];
    return vendor === undefined ? [] : products.map((product) => `${vendor}:${product}`);
  });
  assert.deepEqual(ids.sort(), [...BRIDGES.keys(), `${ESPRESSIF_VENDOR}:*`].sort());
});

test('the udev rules are in the grammar of udev(7), and every GOTO has its LABEL behind it', () => {
  const token = /^(?:ACTION|SUBSYSTEM|ATTRS\{\w+\}|ENV\{\w+\}|GROUP|MODE|TAG|GOTO|LABEL)(?:==|!=|=|\+=)"[^"]*"$/;
  const rules = lines(read('udev/70-espd.rules'));
  for (const rule of rules) for (const part of rule.split(', ')) assert.match(part, token);
  const label = rules.findIndex((rule) => rule === 'LABEL="espd_end"');
  for (const [index, rule] of rules.entries()) if (rule.includes('GOTO')) assert.ok(index < label, rule);
  assert.ok(rules.filter((rule) => rule.includes('GOTO="espd_end"')).length >= 2);
});

/** Skips aloud where a tool of systemd is not installed: none of them is needed to build or use espd. */
const missing = (tool: string) => {
  try {
    execFileSync(tool, ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    return `${tool} is not installed`;
  }
};

test(
  'systemd-analyze finds no fault in the unit, and an exposure of 2.5 at most',
  { skip: missing('systemd-analyze') },
  (context) => {
    const folder = mkdtempSync(join(tmpdir(), 'espd-unit-'));
    context.after(() => rmSync(folder, { recursive: true }));
    const unit = join(folder, 'espd.service');
    // The command must exist for `verify`, and espd is not installed here.
    writeFileSync(unit, read('espd.service').replace('ExecStart=/usr/local/bin/espd', `ExecStart=${process.execPath}`));
    const analyze = (...args: string[]) => execFileSync('systemd-analyze', args, { encoding: 'utf8', stdio: 'pipe' });
    assert.equal(analyze('verify', '--man=no', '--recursive-errors=no', unit), '');
    const report = analyze('security', '--offline=true', '--no-pager', '--threshold=25', unit);
    const [, exposure] = /exposure level for espd\.service: ([\d.]+)/.exec(report) ?? [];
    assert.ok(Number(exposure) <= 2.5, report);
  },
);

test('systemd-sysusers makes the user', { skip: missing('systemd-sysusers') }, (context) => {
  const root = mkdtempSync(join(tmpdir(), 'espd-sysusers-'));
  context.after(() => rmSync(root, { recursive: true }));
  mkdirSync(join(root, 'etc'));
  const conf = new URL('../../systemd/sysusers.d/espd.conf', import.meta.url).pathname;
  execFileSync('systemd-sysusers', [`--root=${root}`, conf], { stdio: 'ignore' });
  assert.match(readFileSync(join(root, 'etc/passwd'), 'utf8'), /^espd:[^\n]*:\/var\/lib\/espd:[^\n]*nologin$/m);
  assert.match(readFileSync(join(root, 'etc/group'), 'utf8'), /^dialout:.*:espd$/m);
});
