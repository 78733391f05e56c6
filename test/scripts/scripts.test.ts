/** scripts/run.mjs, scripts/test.mjs and scripts/test-system.mjs in a small project of their own, with the packages of this one. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after, beforeEach, test } from 'node:test';

const root = path.dirname(path.dirname(import.meta.dirname));
const project = fs.mkdtempSync(path.join(os.tmpdir(), 'espd-scripts-'));
after(() => fs.rmSync(project, { recursive: true }));
const at = (file: string) => path.join(project, file);
const write = (file: string, text: string) => {
  fs.mkdirSync(path.dirname(at(file)), { recursive: true });
  fs.writeFileSync(at(file), text);
};

for (const file of ['scripts', 'package.json', 'package-lock.json', 'tsconfig.json', 'tsconfig.build.json']) {
  fs.cpSync(path.join(root, file), at(file), { recursive: true });
}
fs.symlinkSync(path.join(root, 'node_modules'), at('node_modules'));

const MAIN = `
const [what] = process.argv.slice(2);
if (what === 'stdin') for await (const piece of process.stdin) process.stdout.write(String(piece).toUpperCase());
if (what === 'exit') process.exitCode = 5;
if (what === 'wait') {
  setInterval(() => undefined, 1000);
  process.stdout.write('waiting');
}
`;
beforeEach(() => write('src/main.ts', MAIN));

interface Outcome {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Beyond that of this process, for the scripts; emptied for each test. */
let environment: Record<string, string> = {};
beforeEach(() => (environment = {}));

function start(script: string, ...args: string[]) {
  const child = spawn(process.execPath, [at(`scripts/${script}.mjs`), ...args], {
    // Without what the runner of this test tells its children, and with no npm in reach: node_modules is borrowed.
    env: {
      ...process.env,
      ...{ NODE_OPTIONS: '', NODE_TEST_CONTEXT: undefined, PATH: '', npm_execpath: undefined },
      ...environment,
    },
    stdio: 'pipe',
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const ended = new Promise<Outcome>((resolve) =>
    child.once('close', (status, signal) => resolve({ status, signal, stdout, stderr })),
  );
  return { child, ended };
}

const run = (script: string, ...args: string[]) => start(script, ...args).ended;

/** What must never be left over, whatever happened. */
const leftovers = () => fs.readdirSync(project).filter((name) => /^(\.prepare|dist\.)/.test(name));

test('builds once, hands on stdin, and keeps stdout clean and the exit status', async () => {
  const first = start('run', 'stdin');
  first.child.stdin.end('hello');
  const built = await first.ended;
  assert.deepEqual([built.status, built.stdout], [0, 'HELLO'], built.stderr);
  assert.match(built.stderr, /building/);
  assert.deepEqual(await run('run', 'exit'), { status: 5, signal: null, stdout: '', stderr: '' });
});

test('a signal reaches the command and is its end', async () => {
  const { child, ended } = start('run', 'wait');
  child.stdout.once('data', () => child.kill('SIGTERM'));
  const { signal, stdout } = await ended;
  assert.deepEqual([signal, stdout], ['SIGTERM', 'waiting']);
});

test('several at once build once, and all of them run', async () => {
  write('src/main.ts', `${MAIN}process.stdout.write('new');\n`);
  const outcomes = await Promise.all([run('run'), run('run'), run('run')]);
  assert.deepEqual(
    outcomes.map(({ status, stdout }) => [status, stdout]),
    [
      [0, 'new'],
      [0, 'new'],
      [0, 'new'],
    ],
  );
  assert.equal(outcomes.filter(({ stderr }) => stderr.includes('building')).length, 1);
  assert.deepEqual(leftovers(), []);
});

test('a builder that was killed leaves nothing that is taken for finished', async () => {
  write('src/main.ts', `${MAIN}process.stdout.write('newer');\n`);
  const { child, ended } = start('run');
  child.stderr.once('data', () => child.kill('SIGKILL'));
  assert.equal((await ended).signal, 'SIGKILL');
  assert.notDeepEqual(leftovers(), []);
  const { status, stdout } = await run('run');
  assert.deepEqual([status, stdout], [0, 'newer']);
  assert.deepEqual(leftovers(), []);
});

test('sources that do not compile stop it with the reason, and the last good build stays', async () => {
  const before = fs.readFileSync(at('dist/main.js'), 'utf8');
  write('src/main.ts', 'export const wrong: string = 1;\n');
  const { status, stdout, stderr } = await run('run', 'exit');
  assert.deepEqual([status, stdout], [1, '']);
  assert.match(stderr, /main\.ts\(1,14\).*\n[^]*tsc failed/);
  assert.equal(fs.readFileSync(at('dist/main.js'), 'utf8'), before);
  assert.deepEqual(leftovers(), []);
});

test('test.mjs runs the files that match, shows the closing lines and keeps the exit status', async () => {
  write('test/good.test.ts', "import { test } from 'node:test';\ntest('fine', () => undefined);\n");
  write('test/deep/bad.test.ts', "import { test } from 'node:test';\ntest('bad', () => { throw new Error('no'); });\n");
  const good = await run('test', 'goo', 'nothing');
  assert.equal(good.status, 0, good.stderr);
  assert.match(good.stdout, /tests 1\n[^]*pass 1\n[^]*fail 0\n/);
  const all = await run('test');
  assert.equal(all.status, 1);
  assert.match(all.stdout, /tests 2\n[^]*pass 1\n[^]*fail 1\n/);
  const none = await run('test', 'nothing');
  assert.deepEqual([none.status, none.stdout], [1, '']);
  assert.match(none.stderr, /no test file matches nothing/);
});

test('the counts of a run are for one file, and for the runs of none of its tests', async () => {
  const tests = {
    'passes.test.ts': 'test("one", () => undefined); test("two", () => undefined);',
    'fails.test.ts': 'test("three", () => { throw new Error("no"); }); test("four", { skip: true }, () => undefined);',
    'asks.test.ts': 'test("five", () => { if (process.env.ESPD_TEST_COUNTS) throw new Error("it is there"); });',
  };
  for (const [name, text] of Object.entries(tests))
    write(`test/counted/${name}`, `import { test } from 'node:test';\n${text}`);
  environment = { ESPD_TEST_COUNTS: at('counts') };
  assert.equal((await run('test', 'counted')).status, 1);
  assert.equal(fs.readFileSync(at('counts'), 'utf8'), '3 1 1\n');
});

test('system tests that are skipped say so and why, count as one, and are no failure', async () => {
  environment = { ESPD_SKIP_SYSTEM_TESTS: '1', ESPD_TEST_COUNTS: at('counts') };
  const { status, stderr } = await run('test-system');
  assert.equal(status, 0);
  assert.match(stderr, /SKIPPED: .*ESPD_SKIP_SYSTEM_TESTS=1/);
  assert.equal(fs.readFileSync(at('counts'), 'utf8'), '0 0 1\n');
});
