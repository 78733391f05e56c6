/** All checks together: limits, faults, the report; and the fixes. */

import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Clock } from '../../src/clock.ts';
import { examine, reportOf } from '../../src/doctor/doctor.ts';
import { applyFix, planFixes } from '../../src/doctor/fix.ts';
import { installRules } from '../../src/doctor/remedies.ts';
import { systemOutside } from '../../src/doctor/system.ts';
import { asRoot, byHand, commandOf, note, ok, problem, safely, some, told } from '../../src/doctor/types.ts';
import { EspdError } from '../../src/errors.ts';
import { machineOf, usbPort } from './machine.ts';
import { PACKAGE, said, subjectOf } from './subject.ts';

test('a bare machine: nothing that is missing there is a problem', async () => {
  const findings = await examine(subjectOf({}));
  assert.deepEqual(
    said(findings).filter((line) => line.startsWith('problem')),
    [],
  );
  assert.ok(said(findings).filter((line) => line.includes('cannot be checked')).length >= 3);
});

test('a broken config: it is the problem, and what depends on it says so', async () => {
  const loaded = new EspdError('config-invalid', '/etc/espd/config.yaml:1:1: what');
  const findings = said(await examine(subjectOf({}, { loaded })));
  assert.deepEqual(
    findings.filter((line) => line.startsWith('problem')),
    ['problem config: The config has a fault: the daemon does not start with it'],
  );
  assert.ok(findings.some((line) => /^note archive: .*cannot be checked: the config/.test(line)));
});

/** A promise that rejects with what is no Error. */
const hostileRejection = () =>
  new Promise<never>((_, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors
    reject('a word');
  });

test('a check that throws or never ends cannot be checked, and the others go on', async () => {
  // Time passes at once for whoever waits.
  const clock: Clock = {
    now: () => 0,
    date: () => new Date('2026-11-26T22:00:00Z'),
    schedule: (_, callback) => {
      const timer = setImmediate(callback);
      return () => clearImmediate(timer);
    },
  };
  const never = new Promise<never>(() => undefined);
  const findings = await examine(subjectOf({}, { clock }), [
    { id: 'a', what: 'A', check: () => never },
    { id: 'b', what: 'B', check: () => Promise.reject(new Error('boom')) },
    { id: 'c', what: 'C', check: () => hostileRejection() },
    { id: 'd', what: 'D', check: () => Promise.resolve([ok('d', 'fine')]) },
  ]);
  assert.deepEqual(said(findings), [
    'note a: A: cannot be checked: no answer within 15 s',
    'note b: B: cannot be checked: boom',
    'note c: C: cannot be checked: a word',
    'ok d: fine',
  ]);
});

test('whatever the tools say, every check ends with a finding', async () => {
  const text = fc.string({ unit: 'binary', maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(text, text, fc.integer({ min: 0, max: 255 }), async (stdout, stderr, status) => {
      const said_ = { stdout, stderr, status };
      const programs = { systemctl: said_, udevadm: said_, timedatectl: said_, getent: said_, getfacl: said_ };
      const files = { '/etc/group': stdout, '/etc/passwd': stderr, '/etc/udev/rules.d/85-brltty.rules': stdout };
      const running = { found: true, value: [{ pid: 1, name: 'ModemManager' }] } as const;
      const machine = { programs, files, running, refused: { '/dev/ttyUSB0': 'EACCES' } };
      const listPorts = () => Promise.resolve([usbPort('/dev/ttyUSB0')]);
      const { checks } = reportOf(await examine(subjectOf(machine, { listPorts })), false);
      for (const { title, detail = '' } of checks) assert.doesNotMatch(title + detail.replaceAll('\n', ''), /[\p{C}]/u);
    }),
    { numRuns: 40 },
  );
});

test('the report: a note is no failure; texts are printable; commands have sudo where it is needed', () => {
  const hostile = note('x', 'a\u001b[2J', { detail: 'b\u202e\nc', remedy: safely(asRoot('rm', "it's")) });
  assert.deepEqual(reportOf([ok('y', 'fine'), hostile], false), {
    checks: [
      { id: 'y', status: 'ok', title: 'fine' },
      {
        ...{ id: 'x', status: 'note', title: 'a\\u{1b}[2J', detail: 'b\\u{202e}\nc' },
        fix: { command: "sudo rm 'it'\\''s'", safe: true },
      },
    ],
    ok: true,
  });
  assert.equal(reportOf([problem('p', 'bad')], true).ok, false);
  assert.equal(commandOf(safely(asRoot('a'), asRoot('b', 'c d')), true), "a && b 'c d'");
  assert.equal(commandOf(told('espd restore'), false), 'espd restore');
  assert.deepEqual(
    [some([]), some(['a']), some(['a', 'b']), some(['a', 'b', 'c', 'd', 'e'])],
    ['', 'a', 'a and b', 'a, b, c and 2 more'],
  );
});

test('the plan of fixes: only safe ones, each once, none for what is fine', () => {
  const rules = installRules(PACKAGE);
  const findings = [
    problem('a', 'x', { remedy: rules }),
    note('b', 'x', { remedy: installRules(PACKAGE) }),
    problem('c', 'x', { remedy: byHand(asRoot('usermod')) }),
    problem('d', 'x', { remedy: told('espd restore') }),
    problem('e', 'x'),
    { ...ok('f', 'x'), remedy: safely(asRoot('true')) },
  ];
  const plan = planFixes(findings, false);
  assert.deepEqual(
    plan.map(({ ids, needsRoot }) => ({ ids, needsRoot })),
    [{ ids: ['a', 'b'], needsRoot: true }],
  );
  assert.equal(planFixes(findings, true)[0]?.needsRoot, false);
});

test('a fix: its steps in order, and none after one that failed', async () => {
  const log: string[] = [];
  const done = { stdout: '' };
  const steps = [asRoot('one', 'x'), { kind: 'write', path: '/f', text: 'T', root: true } as const, asRoot('two')];
  const fix = { ids: ['a'], command: 'c', remedy: safely(...steps), needsRoot: false };
  const machine = { log, programs: { one: done, two: done } };
  assert.equal(await applyFix(fix, machineOf(machine)), null);
  assert.deepEqual(log, ['one x', 'write /f: T', 'two']);

  log.length = 0;
  assert.equal(await applyFix(fix, machineOf({ ...machine, writeFails: 'EEXIST' })), '/f is there already');
  assert.deepEqual(log, ['one x']);
  assert.match(
    (await applyFix(fix, machineOf({ ...machine, writeFails: 'EROFS' }))) ?? '',
    /cannot be written \(EROFS\)/,
  );
  log.length = 0;
  const failing = { log, programs: { one: { status: 1, stderr: 'no room' } } };
  assert.equal(await applyFix(fix, machineOf(failing)), 'one ended with 1: no room');
  assert.deepEqual(log, ['one x']);
  assert.equal(await applyFix(fix, machineOf({})), 'one is not on this machine');
});

test('what only a person or only root may decide is never done', async () => {
  const log: string[] = [];
  const outside = machineOf({ log, programs: { x: {} } });
  const unsafe = { ids: [], command: '', remedy: byHand(asRoot('x')), needsRoot: false };
  assert.equal(await applyFix(unsafe, outside), 'only a person may decide this');
  assert.equal(await applyFix({ ...unsafe, remedy: safely(asRoot('x')), needsRoot: true }, outside), 'only root may');
  assert.deepEqual(log, []);
});

test('the real machine: programs, files, sockets', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'espd-doctor-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const outside = systemOutside(process.env);
  const at = (name: string) => join(folder, name);

  const node = await outside.run([process.execPath, '-e', 'console.log(1); process.exitCode = 3']);
  assert.deepEqual(node, { outcome: 'ended', status: 3, stdout: '1\n', stderr: '' });
  assert.deepEqual(await outside.run(['espd-no-such-program']), { outcome: 'missing' });
  const flood = await outside.run([process.execPath, '-e', "process.stdout.write('x'.repeat(3 << 20))"]);
  assert.equal(flood.outcome, 'failed');

  assert.deepEqual(await outside.write(at('new/file'), 'text'), { found: true, value: true });
  assert.deepEqual(await outside.write(at('new/file'), 'other'), { found: false, code: 'EEXIST' });
  assert.equal(await readFile(at('new/file'), 'utf8'), 'text');
  assert.equal((await stat(at('new/file'))).mode & 0o022, 0);
  assert.equal((await outside.read(at('new/file'))).found, true);
  assert.deepEqual(await outside.read(at('none')), { found: false, code: 'ENOENT' });
  assert.deepEqual(await outside.read('/dev/null'), { found: false, code: 'no-file' });
  await writeFile(at('large'), Buffer.alloc((1 << 20) + 1));
  assert.deepEqual(await outside.read(at('large')), { found: false, code: 'too-large' });
  await symlink('/dev/null', at('link'));
  assert.deepEqual(await outside.link(at('link')), { found: true, value: '/dev/null' });
  const device = await outside.stat(at('link'));
  assert.equal(device.found && device.value.kind, 'device');
  assert.deepEqual(await outside.access(folder, 'write-enter'), { found: true, value: true });
  assert.deepEqual(await outside.access(at('none'), 'read-write'), { found: false, code: 'ENOENT' });
  const space = await outside.space(folder);
  assert.ok(space.found && space.value.diskBytes >= space.value.freeBytes);

  assert.deepEqual(await outside.connect(at('none.sock')), { found: false, code: 'ENOENT' });
  const server = createServer().listen(at('x.sock'));
  await new Promise((resolve) => server.once('listening', resolve));
  assert.deepEqual(await outside.connect(at('x.sock')), { found: true, value: true });
  server.close();
});

test('the real machine: who runs, where there is a /proc', async (t) => {
  const programs = await systemOutside({}).programs();
  if (!programs.found) {
    t.skip(`no /proc: ${programs.code}`);
    return;
  }
  assert.ok(programs.value.some(({ pid }) => pid === process.pid));
});
