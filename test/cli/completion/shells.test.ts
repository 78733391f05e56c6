/** The scripts in the shells that they are for; a shell that is not installed is skipped, aloud. */

import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { describeProgram } from '../../../src/cli/completion/command-line.ts';
import { type Shell, completionScript } from '../../../src/cli/completion/script.ts';
import { programForReading } from '../../../src/cli/program.ts';

const LIMIT_MS = 120_000;

/** Stands in for espd: notes what it is asked, and knows a board with a label that a shell must not run. */
const ESPD = `#!/bin/sh
printf '%s\\n' "$*" >>"$0.asked"
case "$*" in
  *boards*@*) printf 'kitchen@latest\\nkitchen@first\\n' ;;
  *boards*) printf 'kitchen\\t50:02:91:c3:37:a5\\ndoor sensor\\t\\n$(touch pwned)\\t\\n50:02:91:c3:37:a5\\tkitchen\\n' ;;
  *ports*) printf '/dev/ttyUSB0\\tCP2102\\n/dev/ttyACM0\\t\\n' ;;
esac
`;

/** What is typed before TAB, and the words that the command line then has. */
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['daem', ['daemon']],
  ['list --log-level de', ['list', '--log-level', 'debug']],
  ['show 50:02:91:c', ['show', '50:02:91:c3:37:a5']],
  ['restore --mac=50:02:91:c', ['restore', '--mac=50:02:91:c3:37:a5']],
  ['show kitchen@f', ['show', 'kitchen@first']],
  ['show door', ['show', 'door sensor']],
  ['backup --port /dev/ttyA', ['backup', '--port', '/dev/ttyACM0']],
  ['--archive=/x --config /y backup --mac ki', ['--archive=/x', '--config', '/y', 'backup', '--mac', 'kitchen']],
  ['restore kitchen --keep nvs --kee', ['restore', 'kitchen', '--keep', 'nvs', '--keep']],
  ['prune door ki', ['prune', 'door', 'kitchen']],
  ['completion f', ['completion', 'fish']],
  ['export kitchen some', ['export', 'kitchen', 'some-file']],
];

async function workshop(t: TestContext, shell: Shell) {
  if (!isInstalled(shell)) {
    t.skip(`SKIPPED: ${shell} is not installed`);
    return undefined;
  }
  const folder = await mkdtemp(join(tmpdir(), 'espd-completion-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const script = join(folder, '_espd');
  await writeFile(script, completionScript(shell, describeProgram(programForReading())));
  await mkdir(join(folder, 'bin'));
  const espd = join(folder, 'bin', 'espd');
  await writeFile(espd, ESPD);
  await chmod(espd, 0o755);
  await writeFile(join(folder, 'some-file'), '');
  const run = (args: readonly string[], input = '') =>
    new Promise<string>((resolve, reject) => {
      const env = {
        ...{ PATH: `${join(folder, 'bin')}${delimiter}${process.env['PATH'] ?? ''}` },
        ...{ HOME: folder, TERM: 'dumb', LC_ALL: 'C.UTF-8' },
      };
      const child = execFile(shell, args, { cwd: folder, env, timeout: LIMIT_MS }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout + stderr);
        else reject(new Error(`${shell}: ${error.message}\n${stdout}\n${stderr}`));
      });
      // A shell that only checks a script reads none of it.
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(input);
    });
  return { folder, script, run, asked: () => readFile(`${espd}.asked`, 'utf8') };
}

function isInstalled(shell: Shell): boolean {
  try {
    execFileSync(shell, ['-c', 'true'], { stdio: 'ignore', timeout: LIMIT_MS });
    return true;
  } catch {
    return false;
  }
}

/** Lines like `<show><kitchen>`, without what the terminal got beside. */
function linesOf(output: string): string[][] {
  return [...output.matchAll(/START(.*)END\r?$/gm)].map(([, line = '']) =>
    [...line.matchAll(/<([^>]*)>/g)].map(([, word = '']) => word),
  );
}

const SHOW = `printf START; printf '<%s>' "$@"; echo END`;

test('bash', async (t) => {
  const place = await workshop(t, 'bash');
  if (place === undefined) return;
  await place.run(['-n', place.script]);
  const typed = CASES.map(([line]) => `x ${line}\t`);
  const lines = [`. ./_espd; complete -F _espd x; x() { ${SHOW}; }`, ...typed, 'x show $(tou\t)', 'exit 0', ''];
  const output = await place.run(['--norc', '--noprofile', '-i'], lines.join('\n'));
  const expected = CASES.map(([, words]) => words);
  assert.deepEqual(linesOf(output).slice(0, CASES.length), expected, output);
  assert.match(await place.asked(), /^complete --archive=\/x --config \/y boards -- ki$/m);
  await assert.rejects(readFile(join(place.folder, 'pwned')));
});

test('zsh', async (t) => {
  const place = await workshop(t, 'zsh');
  if (place === undefined) return;
  await place.run(['-n', place.script]);
  const driver = `
    zmodload zsh/zpty || exit 9
    zpty z 'PS1= zsh -f -i'
    until_line() { local out; while zpty -r z out; do print -rn -- $out; [[ $out == *$1* ]] && return; done }
    zpty -w z 'PS1= PS2=; fpath=($PWD $fpath); autoload -Uz compinit; compinit -D -u; compdef _espd x; echo REA''DY'
    until_line READY
    zpty -w z ${quote(`x() { ${SHOW.replace('START', "ST''ART").replace('END', "EN''D")} }`)}
    while IFS= read -r typed; do
      zpty -n -w z "x $typed"$'\\t\\n'
      until_line END
    done
    zpty -d z
  `;
  const input = CASES.map(([line]) => `${line}\n`).join('');
  const output = await place.run(['-f', '-c', driver], input);
  assert.deepEqual(
    linesOf(output),
    CASES.map(([, words]) => words),
    output,
  );
  assert.match(await place.asked(), /^complete --archive=\/x --config \/y boards -- ki$/m);
});

test('fish', async (t) => {
  const place = await workshop(t, 'fish');
  if (place === undefined) return;
  await place.run(['-n', place.script]);
  const asked = CASES.map(([line]) => `complete -C ${quote(`espd ${line}`)}; echo .`);
  const output = await place.run(['--no-config', '-c', `source _espd\n${asked.join('\n')}`]);
  // Of each candidate what stands before its description; one dot behind each case.
  const offered = output
    .split('.\n')
    .slice(0, -1)
    .map((lines) => lines.split('\n').map((line) => line.split('\t')[0]!));
  for (const [index, [line, words]] of CASES.entries()) {
    assert.ok(offered[index]?.includes(words.at(-1)!), `${line}: ${String(offered[index])}`);
  }
  assert.match(await place.asked(), /^complete --archive=\/x --config \/y boards -- ki$/m);
});

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
