/** `espd doctor` as a person and a script see it: marks, commands, exit status, --fix with its questions. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { doctor } from '../../src/cli/doctor.ts';
import { outputOf } from '../../src/cli/host.ts';
import type { Check } from '../../src/doctor/types.ts';
import type { Subject } from '../../src/doctor/subject.ts';
import { type EspdError, toEspdError } from '../../src/errors.ts';
import { VERSION } from '../../src/version.ts';
import { Bench, assertPlain, parseJson, screenOf } from '../support/cli.ts';
import { type Machine, RUNNING_SERVICE, lines, machineOf, usbPort } from '../doctor/machine.ts';
import { PACKAGE, ROOT } from '../doctor/subject.ts';

const RULES = readFileSync(join(ROOT, 'systemd/udev/70-espd.rules'), 'utf8');
const UNIT = readFileSync(join(ROOT, 'systemd/espd.service'), 'utf8');
const INSTALLED = '/etc/udev/rules.d/70-espd.rules';
const OURS = `${PACKAGE}/systemd/udev/70-espd.rules`;

interface DoctorJson {
  readonly checks: readonly Check[];
  readonly ok: boolean;
  readonly error?: { code: string; message: string; hint: string };
  readonly fixed?: { ids: string[]; command: string; done: boolean; problem: string | null }[];
}

interface Say {
  readonly options?: { fix?: boolean; yes?: boolean };
  readonly json?: boolean;
  readonly tty?: boolean;
  readonly color?: boolean;
  /** Whoever is asked answers so. */
  readonly answer?: string;
  readonly subject?: Partial<Subject>;
}

/** The command on a machine of tables, with the config and the archive of the bench. */
async function run(t: TestContext, machine: Machine, say: Say = {}) {
  const bench = await Bench.open(t);
  // Its ports are those of the table.
  await bench.configure({ watch: { folders: [], deny: [] } });
  const { options = {}, json = false, tty = true, color = false, answer } = say;
  const text = { stdout: '', stderr: '' };
  const asked: string[] = [];
  const stream = (name: 'stdout' | 'stderr') => ({
    ...{ isTTY: tty, columns: 80 },
    write: (data: string | Uint8Array) => void (text[name] += String(data)),
  });
  const ask = (question: string) => Promise.resolve((asked.push(question), answer ?? ''));
  const host = {
    env: { HOME: bench.folder, ESPD_CONFIG: bench.configPath },
    terminal: { stdout: stream('stdout'), stderr: stream('stderr'), ...(answer === undefined ? {} : { ask }) },
    signal: new AbortController().signal,
    onHangup: () => undefined,
  };
  const common = { json, color };
  const out = outputOf(common, host);
  const subject = { packageFolder: PACKAGE, listPorts: () => Promise.resolve([]), ...say.subject };
  const parts = { common, host, out, outside: machineOf(machine), subject };
  let error: EspdError | undefined;
  try {
    error = await doctor(parts, { fix: false, yes: false, ...options });
  } catch (thrown) {
    error = toEspdError(thrown);
  }
  if (error !== undefined && !json) out.error(error);
  return { error, asked, ...text, ...(json && text.stdout !== '' ? { json: parseJson<DoctorJson>(text.stdout) } : {}) };
}

const SOUND: Machine = {
  person: { uid: 0, name: 'root', gids: [0] },
  files: { [INSTALLED]: RULES, [OURS]: RULES },
  programs: {
    udevadm: { stdout: '252\n' },
    timedatectl: { stdout: 'NTPSynchronized=yes\n' },
    systemctl: { stdout: 'LoadState=not-found\n' },
  },
};

test('a sound machine: no problem, exit 0, and the marks can be read without color', async (t) => {
  const { error, stdout, stderr } = await run(t, SOUND);
  assert.equal(error, undefined);
  const marks = stdout.split('\n').flatMap((line) => /^(ok|note|problem) +/.exec(line)?.[1] ?? []);
  assert.ok(marks.length >= 12);
  assert.ok(!marks.includes('problem'), stdout);
  assert.match(stdout, /^0 problems, \d notes?, \d+ ok$/m);
  assertPlain(stdout);
  assert.doesNotMatch(stderr, /espd:/);
});

const PORT = '/dev/ttyUSB0';
/** Four problems, as somebody has them who plugs the first board in on a new machine. */
const FOUR: Machine = {
  refused: { [PORT]: 'EACCES' },
  stats: { [PORT]: { kind: 'device', gid: 20, mode: 0o660 } },
  files: {
    '/etc/group': 'dialout:x:20:espd\nespd:x:994:\n',
    '/etc/passwd': 'espd:x:994:994::/:/bin/false\n',
    [OURS]: RULES,
    ...{ '/etc/systemd/system/espd.service': UNIT, [`${PACKAGE}/systemd/espd.service`]: UNIT },
    [`${PACKAGE}/package.json`]: `{"name": "espd", "version": "${VERSION}"}`,
  },
  programs: {
    ...{ 'udevadm --version': { stdout: '252\n' }, udevadm: { stdout: 'DEVNAME=/dev/ttyUSB0\n' } },
    timedatectl: { stdout: 'NTPSynchronized=yes\n' },
    systemctl: {
      stdout: lines({ ...RUNNING_SERVICE, ActiveState: 'failed', Result: 'exit-code', ExecMainStatus: '1' }),
    },
  },
  links: { '/usr/local/bin/espd': '../lib/node_modules/espd/dist/main.js' },
  holders: { [PORT]: { pid: 812, name: 'ModemManager' } },
};
const plugged = { listPorts: () => Promise.resolve([usbPort(PORT)]) };

test('four problems at a terminal of 80 columns', async (t) => {
  const { error, stdout, stderr } = await run(t, FOUR, { subject: plugged });
  assert.equal(error?.exitStatus, 1);
  const picture = stdout.split('\n').filter((line) => !/^ok /.test(line));
  const from = picture.findIndex((line) => line.startsWith('problem'));
  assert.deepEqual(picture.slice(from, picture.indexOf('', from)), FOUR_PROBLEMS);
  assert.match(
    screenOf(stderr),
    /^espd: 4 problems, \d notes, \d+ ok \(setup-problem\)\n {6}"espd doctor --fix" does what is safe of it \(1 command\)$/m,
  );
  for (const line of stdout.split('\n')) assert.ok(line.length <= 79 || /^ {9}\S/.test(line), line);
  assertPlain(stdout);
});

const INSTALL =
  `sudo install -D -m 644 --backup=numbered -t /etc/udev/rules.d ${OURS} && ` +
  'sudo udevadm control --reload && sudo udevadm trigger --subsystem-match=tty';
const FOUR_PROBLEMS = [
  'problem  ada may not open /dev/ttyUSB0',
  '         Group dialout may. Join it, then log in again',
  '         sudo usermod -aG dialout ada',
  'problem  ModemManager holds /dev/ttyUSB0 and sends AT commands to the board',
  `         ${INSTALL}`,
  'note     ada is not in group espd',
  '         Commands of this user reach the daemon only from that group',
  '         sudo usermod -aG espd ada',
  'problem  The udev rules of espd are not installed',
  '         They open the ports of ESP boards to group dialout and who sits here,',
  '         and keep ModemManager away',
  '         The same command as above',
  'note     USB hubs: cannot be checked: sysfs does not tell',
  'problem  The service has failed: exit-code 1',
  '         Its log says why:',
  '         journalctl -u espd -n 50 --no-pager',
];

test('color only at a terminal, and only where it is wanted', async (t) => {
  const styled = await run(t, FOUR, { color: true, subject: plugged });
  assert.match(styled.stdout, /\x1b\[31mproblem\x1b\[39m/);
  const piped = await run(t, FOUR, { color: true, tty: false, subject: plugged });
  assertPlain(piped.stdout);
});

test('JSON: each check, what mends it, and the error', async (t) => {
  const { json, stderr, error } = await run(t, FOUR, { json: true, subject: plugged });
  assert.ok(json !== undefined);
  assert.equal(json.ok, false);
  assert.deepEqual([json.error?.code, error?.code], ['setup-problem', 'setup-problem']);
  const rules = json.checks.find(({ id }) => id === 'udev-rules');
  assert.deepEqual(rules?.fix, { command: INSTALL, safe: true });
  for (const { id, status, title } of json.checks) {
    assert.match(id, /^[a-z-]+$/);
    assert.match(status, /^(?:ok|note|problem)$/);
    assert.match(title, /[^.\s]$/);
  }
  assert.equal(stderr, '');
  assert.equal((await run(t, SOUND, { json: true })).json?.ok, true);
});

/** A machine whose rules are installed once `install` has run. */
function mending(log: string[], change: Machine = {}): Machine {
  const files: Record<string, string> = { [OURS]: RULES };
  const install = () => {
    files[INSTALLED] = RULES;
    return Promise.resolve({ outcome: 'ended' as const, status: 0, stdout: '', stderr: '' });
  };
  return { ...SOUND, files, log, ...change, programs: { ...SOUND.programs, install, ...change.programs } };
}

test('--fix: shown, asked, done, looked at again', async (t) => {
  const log: string[] = [];
  const { error, stdout, stderr, asked } = await run(t, mending(log), { options: { fix: true }, answer: 'y' });
  assert.equal(error, undefined);
  assert.equal(asked.length, 1);
  assert.match(asked[0] ?? '', /Do it\? \[y\/N\] $/);
  assert.match(stderr, /To mend udev-rules:\n {2}install -D .*\nDone\n/);
  assert.match(
    stdout,
    /note {5}The udev rules of espd are not installed[^]*ok {7}The udev rules are installed and current/,
  );
  const wanted = ['install', 'udevadm control --reload', 'udevadm trigger'];
  assert.deepEqual(
    wanted.map((command) => log.some((line) => line.startsWith(command))),
    [true, true, true],
  );
});

test('--fix: nothing is done without a clear yes', async (t) => {
  const log: string[] = [];
  const { stderr, error } = await run(t, mending(log), { options: { fix: true }, answer: 'perhaps' });
  assert.equal(error, undefined);
  assert.match(stderr, /Not done: nobody said yes/);
  assert.ok(!log.some((line) => line.startsWith('install')));
});

test('--fix: where nobody can be asked it needs --yes, and nothing was looked at before', async (t) => {
  const log: string[] = [];
  for (const say of [{ tty: false }, { json: true, answer: 'y' }]) {
    const { error } = await run(t, mending(log), { ...say, options: { fix: true } });
    assert.deepEqual([error?.code, error?.exitStatus], ['declined', 5]);
  }
  assert.deepEqual(log, []);
  const { error, json } = await run(t, mending(log), { json: true, options: { fix: true, yes: true } });
  assert.equal(error, undefined);
  assert.deepEqual(json?.fixed, [
    { ids: ['udev-rules'], command: INSTALL.replaceAll('sudo ', ''), done: true, problem: null },
  ]);
  assert.equal(json.checks.find(({ id }) => id === 'udev-rules')?.status, 'ok');
});

test('--fix: what fails is said, and the exit status is that of the second look', async (t) => {
  const failing = { programs: { install: { status: 1, stderr: 'read-only file system' } } };
  const { json } = await run(t, mending([], failing), { json: true, options: { fix: true, yes: true } });
  assert.equal(json?.fixed?.[0]?.problem, 'install ended with 1: read-only file system');
  assert.equal(json.checks.find(({ id }) => id === 'udev-rules')?.status, 'note');
});

test('--fix: an ordinary user is told what only root may', async (t) => {
  const log: string[] = [];
  const machine = mending(log, { person: { uid: 1000, name: 'ada', gids: [1000] } });
  const { stderr } = await run(t, machine, { options: { fix: true }, answer: 'y' });
  assert.match(stderr, /Not done: only root may\. Run: sudo espd doctor --fix/);
  assert.ok(!log.some((line) => line.startsWith('install')));
});

test('--yes answers --fix alone', async (t) => {
  const bench = await Bench.open(t);
  await bench.fails(['doctor', '--yes'], 'usage');
});

test('a broken config is a problem with line and column, and not the end of the command', async (t) => {
  const bench = await Bench.open(t);
  await writeFile(bench.configPath, 'jobs:\n  parallel: many\n');
  const { status, json } = await bench.runJson<DoctorJson>(['doctor']);
  assert.equal(status, 1);
  const config = json.checks.find(({ id }) => id === 'config');
  assert.equal(config?.status, 'problem');
  assert.match(config.detail ?? '', /config\.yaml:2:13: /);
});

test('on the machine that runs this test: whatever it is like, the status is that of the document', async (t) => {
  const bench = await Bench.open(t);
  const { status, json } = await bench.runJson<DoctorJson>(['doctor']);
  assert.equal(status, json.ok ? 0 : 1);
  assert.equal(
    json.ok,
    json.checks.every((check) => check.status !== 'problem'),
  );
  assert.equal(json.checks.find(({ id }) => id === 'modules')?.status, 'ok');
});
