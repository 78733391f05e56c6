/** What the pages list, compared with the code both ways: error codes, exit statuses, commands and their options. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCommandLine } from '../../src/cli/program.ts';
import { ERROR_CODES, EXIT } from '../../src/errors.ts';
import { VERSION } from '../../src/version.ts';
import { installScript } from '../system/guest/install-page.ts';
import { USER_PAGES, codeOf, readPage, rowsOf } from './pages.ts';

interface CodeRow {
  readonly code: string;
  readonly exit: number;
  readonly meaning: string;
  readonly whatToDo: string;
}

test('every error code is on docs/errors.md, with its exit status and meaning, and no other', () => {
  const documented = codeRows(readPage('docs/errors.md')).map(({ code, exit, meaning }) => ({ code, exit, meaning }));
  const real = Object.entries(ERROR_CODES).map(([code, { exit, meaning }]) => ({ code, exit, meaning }));
  const byCode = (a: { code: string }, b: { code: string }) => a.code.localeCompare(b.code);
  assert.deepEqual(documented.toSorted(byCode), real.toSorted(byCode));
});

test('docs/errors.md says for every code what to do', () => {
  const silent = codeRows(readPage('docs/errors.md')).filter(({ whatToDo }) => !/\w{2}/.test(whatToDo));
  assert.deepEqual(silent, []);
});

test('README and docs/errors.md list the exit statuses, and no other', () => {
  for (const page of ['README.md', 'docs/errors.md']) {
    assert.deepEqual(exitRows(readPage(page)), Object.values(EXIT), page);
  }
});

test('codes that docs/restore.md says are refused are codes of refusals', () => {
  const refusals = rowsOf(readPage('docs/restore.md')).flatMap(
    ([first = '']) => /^`([a-z-]+)`$/.exec(first)?.[1] ?? [],
  );
  assert.ok(refusals.length >= 10);
  for (const code of refusals) assert.ok(code in ERROR_CODES, code);
  const real = Object.entries(ERROR_CODES).flatMap(([code, { exit }]) => (exit === EXIT.refused ? [code] : []));
  assert.deepEqual(
    real.filter((code) => code !== 'declined' && !refusals.includes(code)),
    [],
  );
});

test("README's table of commands has every command of espd, and no other", async () => {
  const documented = rowsOf(readPage('README.md')).flatMap(([first = '']) => /^`espd ([a-z-]+)/.exec(first)?.[1] ?? []);
  assert.deepEqual([...new Set(documented)].sort(), [...(await commands())].sort());
});

test('every option of every command is on a page, and every option in a command on a page is one of it', async () => {
  const code = USER_PAGES.flatMap((page) => codeOf(readPage(page)).map((text) => ({ page, text })));
  const onPages = new Set(code.flatMap(({ text }) => optionsIn(text)));
  const common = optionsIn(await help([]));
  for (const command of await commands()) {
    const known = new Set([...optionsIn(await help([command])), ...common]);
    for (const option of known) assert.ok(onPages.has(option), `espd ${command} ${option} is on no page`);
    for (const { page, text } of code) {
      if (!new RegExp(`\\bespd ${command}(?![\\w-])`).test(text)) continue;
      // What stands behind a remark or in front of the command is not for this command.
      const used = optionsIn(text.replace(/^.*?\bespd /, '').replace(/ +#.*$/, ''));
      for (const option of used) assert.ok(known.has(option), `${page}: espd ${command} has no ${option}`);
    }
  }
});

test('docs/install.md installs the package of this version', async () => {
  // What the system tests run in their guest.
  const script = await installScript('npm install --global');
  assert.match(await installScript('npm uninstall --global'), /\bespd$/m);
  const tarballs = readPage('docs/install.md').match(/[\w.-]+\.tgz/g) ?? [];
  assert.deepEqual([...new Set(tarballs)], [`espd-${VERSION}.tgz`]);
  assert.ok(script.includes(`./espd-${VERSION}.tgz`));
});

test('the readers of this test read what they are meant to', () => {
  const text = [
    '| code | exit status | meaning | what to do |',
    '| --- | --- | --- | --- |',
    '| `board-not-found` | 3 | No board \\| none | Plug it in |',
    '|`usage`|2|Wrong||',
    '',
    '| Exit status | Meaning |',
    '| ---: | --- |',
    '| 0 | done |',
    '| 130 | interrupted |',
    '',
    '```',
    '| `block` | 1 | is no row | at all |',
    'espd list --json',
    '```',
    'and `espd show M',
    '--config F`',
  ].join('\n');
  assert.deepEqual(codeRows(text), [
    { code: 'board-not-found', exit: 3, meaning: 'No board | none', whatToDo: 'Plug it in' },
    { code: 'usage', exit: 2, meaning: 'Wrong', whatToDo: '' },
  ]);
  assert.deepEqual(exitRows(text), [0, 130]);
  assert.deepEqual(
    codeOf(text).filter((code) => code.startsWith('espd')),
    ['espd list --json', 'espd show M --config F'],
  );
  assert.deepEqual(optionsIn('espd restore --mac M [--at=WHICH] -- --port'), ['--mac', '--at', '--port']);
});

/** Rows like `| `board-not-found` | 3 | meaning | what to do |`. */
function codeRows(text: string): CodeRow[] {
  return rowsOf(text).flatMap(([first = '', exit = '', meaning = '', whatToDo = '']) => {
    const code = /^`([a-z][a-z0-9-]*)`$/.exec(first)?.[1];
    return code === undefined || !/^\d+$/.test(exit) ? [] : [{ code, exit: Number(exit), meaning, whatToDo }];
  });
}

/** Rows of two columns that begin with a number. */
function exitRows(text: string): number[] {
  return rowsOf(text).flatMap((row) => (row.length === 2 && /^\d{1,3}$/.test(row[0] ?? '') ? [Number(row[0])] : []));
}

function optionsIn(text: string): string[] {
  return text.match(/(?<![\w-])--[a-z][a-z-]*/g) ?? [];
}

async function commands(): Promise<string[]> {
  const [, list = ''] = (await help([])).split(/^Commands:$/m);
  const names = [...list.split(/^\S/m)[0]!.matchAll(/^ {2}([a-z][a-z-]*)/gm)].map(([, name = '']) => name);
  assert.ok(names.includes('restore'));
  return names.filter((name) => name !== 'help');
}

/** What `espd [COMMAND] --help` prints. */
async function help(command: readonly string[]): Promise<string> {
  let text = '';
  const stream = { isTTY: false, columns: 80, write: (part: string) => void (text += part) };
  await runCommandLine([...command, '--help'], {
    env: {},
    terminal: { stdout: stream, stderr: stream },
    signal: new AbortController().signal,
    onHangup: () => undefined,
  });
  return text;
}
