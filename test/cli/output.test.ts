import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Output, type TerminalStream } from '../../src/cli/output.ts';
import { ProgressLines } from '../../src/cli/progress.ts';
import { bold } from '../../src/cli/text.ts';
import { EspdError } from '../../src/errors.ts';
import { assertPlain } from '../support/cli.ts';

class Recorder implements TerminalStream {
  text = '';
  readonly isTTY: boolean;
  readonly columns: number;
  constructor(isTTY: boolean, columns = 80) {
    this.isTTY = isTTY;
    this.columns = columns;
  }
  write(text: string): void {
    this.text += text;
  }
  /** What stands on the screen's last line after all that was written: carriage returns go back, text overwrites. */
  get lastLine(): string {
    const cells: string[] = [];
    let at = 0;
    for (const character of this.text.split('\n').at(-1) ?? '') {
      if (character === '\r') at = 0;
      else cells[at++] = character;
    }
    assert.ok(cells.length < this.columns, 'the line must not reach the last column');
    return cells.join('').trimEnd();
  }
}

function outputOn(options: { stdout: boolean; stderr: boolean; json?: boolean; color?: boolean }) {
  const stdout = new Recorder(options.stdout);
  const stderr = new Recorder(options.stderr);
  const output = new Output({ stdout, stderr }, { json: options.json ?? false, color: options.color ?? true });
  return { output, stdout, stderr };
}

test('styles go only to the stream that is a terminal', () => {
  const { output, stdout, stderr } = outputOn({ stdout: false, stderr: true });
  output.line(bold('result'));
  output.error(new EspdError('usage', 'No', { hint: 'Do' }));
  assert.equal(stdout.text, 'result\n');
  assert.equal(stderr.text, '\x1b[1mespd:\x1b[22m No (usage)\n      Do\n');
});

test('no style where color is off', () => {
  const { output, stdout, stderr } = outputOn({ stdout: true, stderr: true, color: false });
  output.line(bold('result'));
  output.note(bold('note'));
  output.error(new EspdError('usage', 'No'));
  output.progress('/dev/ttyUSB0', { phase: 'connecting' });
  output.line('end');
  assertPlain(stdout.text);
  assertPlain(stderr.text.replaceAll('\r', ''));
});

test('the faults of a config stand one a line below each other', () => {
  const { output, stderr } = outputOn({ stdout: false, stderr: false });
  output.error(new EspdError('config-invalid', 'a.yaml:1:2: first\na.yaml:3:4: second', { hint: 'Mend' }));
  assert.equal(stderr.text, 'espd: a.yaml:1:2: first\n      a.yaml:3:4: second (config-invalid)\n      Mend\n');
});

test('texts of devices cannot steer the terminal, whichever way they come', () => {
  const { output, stdout, stderr } = outputOn({ stdout: true, stderr: true });
  const evil = 'x\x1b]0;gone\x07\x1b[2J\x1b[1mloud\x1b[22m\x1b[2mfaint\ny';
  output.line(evil);
  output.line('a', bold(evil));
  output.table([['A', 'B'], [evil, evil]]); // prettier-ignore
  output.note(evil);
  output.error(new EspdError('internal', evil, { hint: evil }));
  output.progress(evil, { phase: 'connecting' });
  for (const text of [stdout.text, stderr.text]) {
    assertPlain(text.replaceAll('\r', '').replace(/\x1b\[(?:1|22)m/g, ''));
    // What stands out is what espd means to: its own name, and the part that it calls bold.
    assert.equal(text.match(/\x1b\[1m/g)?.length, 1);
    assert.equal(text.match(/\x1b\[22m/g)?.length, 1);
    assert.doesNotMatch(text, /\x1b\[1mloud|\x1b\[2m/);
  }
  assert.equal(stdout.text.split('\n').length, 5);
});

test('with --json only the document is on stdout, and errors are no text', () => {
  const { output, stdout, stderr } = outputOn({ stdout: true, stderr: true, json: true });
  output.line('for people');
  output.note('for people');
  output.progress('/dev/ttyUSB0', { phase: 'reading', doneBytes: 1, totalBytes: 2 });
  output.document({ ok: true });
  assert.equal(stdout.text, '{\n  "ok": true\n}\n');
  assert.equal(stderr.text, '');
  assert.equal(output.canAsk, false);
});

test('only a clear yes is a yes', async () => {
  const answers = ['y', 'Y', 'yes', ' YES ', 'n', '', 'no', 'yep', 'sure', 'y n', '\n'];
  const results: boolean[] = [];
  for (const answer of answers) {
    const asked: string[] = [];
    const ask = (question: string) => {
      asked.push(question);
      return Promise.resolve(answer);
    };
    const output = new Output(
      { stdout: new Recorder(true), stderr: new Recorder(true), ask },
      { json: false, color: true },
    );
    assert.equal(output.canAsk, true);
    results.push(await output.confirm('Write \x1b[2J?'));
    assert.deepEqual(asked, ['Write ·[2J? [y/N] ']);
    // What the question is about has been seen on stderr, unless that is no terminal.
    await output.confirm('Write?', ['the plan']);
    assert.equal(asked.at(-1), 'Write? [y/N] ');
    const log = { stdout: new Recorder(true), stderr: new Recorder(false), ask };
    await new Output(log, { json: false, color: true }).confirm('Write?', ['the\x1b plan']);
    assert.equal(asked.at(-1), 'the· plan\nWrite? [y/N] ');
  }
  assert.deepEqual(results, [true, true, true, true, false, false, false, false, false, false, false]);
});

test('progress is drawn over itself and leaves nothing behind', () => {
  const { output, stdout, stderr } = outputOn({ stdout: true, stderr: true });
  output.progress('/dev/ttyUSB0', { phase: 'connecting' });
  assert.equal(stderr.lastLine, '/dev/ttyUSB0: connecting');
  const identity = { mac: '50:02:91:c3:37:a5' } as never;
  output.progress('/dev/ttyUSB0', { phase: 'identified', identity });
  assert.equal(stderr.lastLine, '50:02:91:c3:37:a5: identified');
  output.progress('/dev/ttyUSB0', { phase: 'reading', doneBytes: 1024 * 1024, totalBytes: 4 * 1024 * 1024 });
  assert.equal(stderr.lastLine, '50:02:91:c3:37:a5: reading [######..................]  25 % 1 MB');
  output.line('result');
  assert.equal(stderr.lastLine, '');
  assert.equal(stdout.text, 'result\n');
  output.progress('/dev/ttyUSB0', { phase: 'leaving' });
  assert.equal(stderr.lastLine, '50:02:91:c3:37:a5: starting its app');
  output.progressEnd('/dev/ttyUSB0');
  assert.equal(stderr.lastLine, '');
  assert.doesNotMatch(stderr.text, /\x1b|\n/);
});

test('a line of the log takes the progress away first', async () => {
  const { output, stderr } = outputOn({ stdout: true, stderr: true });
  output.progress('/dev/ttyUSB0', { phase: 'connecting' });
  await new Promise((resolve) => output.stderrStream.write('a warning\n', resolve));
  assert.match(stderr.text, /\r {26}\ra warning\n$/);
  output.progress('/dev/ttyUSB0', { phase: 'reading', doneBytes: 5, totalBytes: 10 });
  assert.match(stderr.lastLine, /50 %/);
});

test('nothing is drawn where stderr is no terminal', () => {
  const { output, stderr } = outputOn({ stdout: true, stderr: false });
  output.progress('/dev/ttyUSB0', { phase: 'connecting' });
  output.progressEnd('/dev/ttyUSB0');
  output.line('x');
  assert.equal(stderr.text, '');
});

test('a width that the terminal does not tell is taken for 80 columns', () => {
  const stream = new Recorder(true, 0);
  new ProgressLines(stream).update('x'.repeat(200), { phase: 'connecting' });
  assert.equal(stream.text.length, '\r'.length + 77, 'with room for the echo of Ctrl-C');
});

test('a long result is wrapped at a terminal, and one line in a pipe', () => {
  const text = `24:0a:c4:0d:ca:f6  restored: ${'word '.repeat(15).trim()}`;
  const piped = outputOn({ stdout: false, stderr: false });
  piped.output.paragraph(text, '  ');
  assert.equal(piped.stdout.text, `${text}\n`);
  const shown = outputOn({ stdout: true, stderr: true });
  shown.output.paragraph(text, '  ');
  shown.output.paragraph('a  b', '  ');
  assert.match(shown.stdout.text, /^[^\n]{60,79}\n {2}word word[^\n]*\na {2}b\n$/);
});

test('an error and a question do not break a word at 80 columns; a command to copy stays in one line', async () => {
  const { output, stderr } = outputOn({ stdout: true, stderr: true, color: false });
  const long = 'word '.repeat(30).trim();
  output.error(new EspdError('board-not-found', long, { hint: `${long}\nFinish with: espd ${long}` }));
  const lines = stderr.text.trimEnd().split('\n');
  assert.equal(lines.length, 8);
  for (const line of lines.slice(0, 6)) assert.ok(line.length < 80 && /word|found/.test(line), line);
  assert.deepEqual(lines.slice(6), ['      Finish with:', `      espd ${long}`]);

  const remarks = outputOn({ stdout: true, stderr: true, color: false });
  remarks.output.note(`${long} (now: espd pull) ${long}: espd ${long}`);
  remarks.output.note(`  install ${long}`);
  remarks.output.note('short: espd push');
  const noted = remarks.stderr.text.trimEnd().split('\n');
  assert.deepEqual(noted.slice(-3), [`  espd ${long}`, `  install ${long}`, 'short: espd push']);
  assert.ok(noted.some((line) => line.includes(`espd pull) ${long}:`)));
  for (const line of noted.slice(0, 2)) assert.ok(line.length < 80, line);
  const piped = outputOn({ stdout: true, stderr: false, color: false });
  piped.output.note(`${long}: espd ${long}`);
  assert.equal(piped.stderr.text, `${long}: espd ${long}\n`);

  const asked: string[] = [];
  const ask = (question: string) => {
    asked.push(question);
    return Promise.resolve('n');
  };
  const at = new Output({ stdout: new Recorder(true), stderr: new Recorder(false), ask }, { json: false, color: true });
  await at.confirm(`${long}. Write to 24:0a:c4:0d:ca:f6?`);
  assert.match(asked[0] ?? '', /^[^\n]{1,79}\n[^\n]{1,79}\n[^\n]{1,79} \[y\/N\] $/);
});
