/** Manual pages: the roff, what is in them, and what man itself says of them. */

import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { generatedFiles } from '../../packaging/generated.ts';
import { noteBlocks } from '../../packaging/man/command-pages.ts';
import { type JsonSchema, configPage, valuesOf } from '../../packaging/man/config-page.ts';
import { type ManPage, escaped, renderManPage } from '../../packaging/man/roff.ts';

const page = (blocks: ManPage['blocks']): string =>
  renderManPage({ name: 'made-up', section: 1, summary: 'a page', blocks }, 'espd 1');

test('signs of roff are printed as they are', () => {
  assert.equal(escaped(String.raw`a\b -x ^~` + "`'"), String.raw`a\eb \-x \(ha\(ti\(ga\(aq`);
  const text = page([
    { paragraph: ['.so /etc/passwd\n\n.br', "\n'br"] },
    { literal: ['.SH not a heading', '', '  two blanks'] },
    { term: [{ bold: '--json' }, ' ', { italic: 'FILE' }], meaning: ['what it is'] },
    { section: 'A "QUOTED" ONE' },
  ]);
  assert.equal(
    text,
    [
      String.raw`.TH "MADE\-UP" "1" "" "espd 1" "espd"`,
      ...['.nh', '.ad l', '.SH "NAME"', String.raw`made\-up \- a page`],
      ...['.PP', String.raw`\&.so /etc/passwd`, String.raw`\&`, String.raw`\&.br`, String.raw`\(aqbr`],
      ...['.PP', '.RS 4', '.nf', String.raw`\&.SH not a heading`, String.raw`\&`, '  two blanks', '.fi', '.RE'],
      ...['.TP', String.raw`\fB\-\-json\fR \fIFILE\fR`, 'what it is'],
      String.raw`.SH "A \(dqQUOTED\(dq ONE"`,
      '',
    ].join('\n'),
  );
});

test('no text becomes a request: each line that begins with a dot is one of the generator', () => {
  const ours = /^\.(?:TH ".*"|SH ".*"|SS ".*"|nh|ad l|PP|TP|RS 4|RE|nf|fi)$/;
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('.', "'", '\\', '-', '\n', ' ', 'a', '"') }), (text) => {
      const lines = page([{ paragraph: [text] }, { literal: text.split('\n') }, { section: text }]).split('\n');
      for (const line of lines) {
        if (/^[.']/.test(line)) assert.match(line, ours);
        // A backslash only in an escape of ours.
        assert.equal(line.replaceAll(/\\(?:e|-|&|\((?:ha|ti|ga|aq|dq)|f[BIR])/g, '').includes('\\'), false, line);
      }
    }),
  );
});

test('the texts below a help become sections, paragraphs and literal lines', () => {
  assert.deepEqual(noteBlocks('Exit status:\n  0  done\n  1  failed\n\nPlain\ntext.\n\nNotes:\nmore: of it'), [
    { section: 'EXIT STATUS' },
    { literal: ['0  done', '1  failed'] },
    { paragraph: ['Plain\ntext.'] },
    { section: 'NOTES' },
    { paragraph: ['more: of it'] },
  ]);
  assert.deepEqual(noteBlocks(''), []);
});

test('keys of the config: every one, with what it may hold and its default', () => {
  const schema: JsonSchema = {
    properties: {
      part: {
        description: 'A part.',
        properties: {
          number: { type: 'integer', minimum: 1, maximum: 64, default: 8, description: 'So many.' },
          list: { type: 'array', default: [], items: { type: 'object', properties: { id: { type: 'string' } } } },
        },
      },
    },
  };
  const text = renderManPage(configPage(schema), 'espd 1');
  assert.match(text, /\.SS "part"\nA part\.\n\.TP\n\\fBpart\.number\\fR \(number from 1 to 64; default 8\)\nSo many\./);
  assert.match(text, /\\fBpart\.list\\fR \(list of groups of keys; default \[\]\)\n/);
  assert.match(text, /\\fBpart\.list\[\]\.id\\fR \(text\)\n/);
  assert.equal(
    valuesOf({ anyOf: [{ anyOf: [{ type: 'integer' }, { const: 'unlimited' }] }, { type: 'null' }] }),
    'number, or unlimited, or null',
  );
});

test('there is a page for each command, with each of its options', () => {
  const { man } = generatedFiles();
  const pageOf = (name: string) => man.find((each) => each.name === name)?.text ?? assert.fail(`no page ${name}`);
  // mandoc warns of a paragraph that is begun where one has begun.
  for (const { name, text } of man) assert.doesNotMatch(text, /^\.S[HS] .*\n\.PP$/m, name);
  assert.match(pageOf('espd.1'), /ESPD_SOCKET/);
  for (const option of ['\\-\\-port', '\\-\\-full', '\\-\\-output'])
    assert.ok(pageOf('espd-backup.1').includes(option));
  assert.match(pageOf('espd-restore.1'), /\.SH "NOTES"\n/);
  assert.match(pageOf('espd-list.1'), /In the order of this: mac, label, .*\(default: mac\)\./);
  assert.match(pageOf('espd.yaml.5'), /\\fBjobs\.parallel\\fR \(number from 1 to 64; default 8\)/);
  assert.match(pageOf('espd.service.8'), /RuntimeDirectory|\/run\/espd/);
  const named = [...pageOf('espd.1').matchAll(/\\fBespd\\-([a-z\\-]+)\\fR\(1\)\n/g)].map(([, name = '']) => name);
  assert.deepEqual(
    named.map((name) => `espd-${name.replaceAll('\\', '')}.1`).sort(),
    man
      .map(({ name }) => name)
      .filter((name) => name.startsWith('espd-'))
      .sort(),
  );
});

test('man finds nothing to warn of, and whatis can read the names', async (t) => {
  // In a minimal Debian man is a script that says that it is not there.
  const { status, stdout } = spawnSync('man', ['--version'], { encoding: 'utf8' });
  if (status !== 0 || !stdout.startsWith('man ')) {
    t.skip('SKIPPED: man is not installed');
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), 'espd-man-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const bad = join(folder, 'bad.1');
  await writeFile(bad, '.TH BAD 1\n.SH NAME\nbad \\- one\n.NOSUCHREQUEST\n');
  assert.match(spawnSync('man', ['--warnings', '--local-file', bad], { encoding: 'utf8' }).stderr, /NOSUCHREQUEST/);
  for (const { name, text } of generatedFiles().man) {
    const file = join(folder, name);
    await writeFile(file, text);
    const options = {
      encoding: 'utf8',
      env: { ...process.env, LC_ALL: 'C.UTF-8', MANROFFSEQ: '', MANWIDTH: '80' },
    } as const;
    const { status, stdout, stderr } = spawnSync('man', ['--warnings', '--local-file', file], options);
    assert.deepEqual([status, stderr], [0, ''], name);
    assert.ok(stdout.includes('NAME'), name);
    const lexgrog = spawnSync('lexgrog', [file], options);
    if (lexgrog.error === undefined) assert.ok(lexgrog.stdout.includes(`"${name.replace(/\.\d$/, '')} - `), name);
  }
});
