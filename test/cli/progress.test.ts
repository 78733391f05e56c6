import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ProgressLines } from '../../src/cli/progress.ts';
import { VirtualClock } from '../../src/simulator/virtual-clock.ts';

/** A terminal as far as progress needs one: CR, LF, CUU and ED; a character beyond the last column is an error. */
class Screen {
  readonly isTTY = true;
  readonly columns: number;
  readonly rows: number;
  #lines: string[] = [''];
  #row = 0;
  #column = 0;

  constructor(columns = 80, rows = 24) {
    this.columns = columns;
    this.rows = rows;
  }

  write(text: string): void {
    for (const [token] of text.matchAll(/\x1b\[(\d*)([A-Z])|[\s\S]/g)) this.#put(token);
  }

  #put(token: string): void {
    const up = /^\x1b\[(\d+)A$/.exec(token)?.[1];
    if (token === '\r') this.#column = 0;
    else if (token === '\n') {
      this.#row++;
      this.#column = 0;
      this.#lines[this.#row] ??= '';
    } else if (up !== undefined) {
      this.#row -= Number(up);
      assert.ok(this.#row >= 0, 'above the screen');
    } else if (token === '\x1b[J') {
      this.#lines = [...this.#lines.slice(0, this.#row), (this.#lines[this.#row] ?? '').slice(0, this.#column)];
    } else {
      assert.doesNotMatch(token, /\p{C}/u);
      const line = (this.#lines[this.#row] ?? '').padEnd(this.#column);
      this.#lines[this.#row] = line.slice(0, this.#column) + token + line.slice(this.#column + 1);
      this.#column++;
      assert.ok(this.#column < this.columns, 'the line must not reach the last column');
    }
  }

  get lines(): string[] {
    const lines = this.#lines.map((line) => line.trimEnd());
    return lines.join('') === '' ? [] : lines;
  }
}

const MIB = 1024 * 1024;
const macOf = (index: number) => ({ mac: `50:02:91:c3:37:${String(index).padStart(2, '0')}` }) as never;

describe('progress on a terminal', () => {
  test('several boards have a line each, with rate and time left, at 80 columns', async () => {
    const clock = new VirtualClock();
    const screen = new Screen();
    const progress = new ProgressLines(screen, clock);
    progress.update('a', { phase: 'identified', identity: macOf(1) });
    progress.update('b', { phase: 'identified', identity: macOf(2) });
    progress.update('/dev/ttyUSB2', { phase: 'connecting' });
    progress.update('a', { phase: 'reading', doneBytes: MIB, totalBytes: 4 * MIB });
    await clock.advance(10_000);
    progress.update('a', { phase: 'reading', doneBytes: 2 * MIB, totalBytes: 4 * MIB });
    assert.deepEqual(screen.lines, [
      '50:02:91:c3:37:01: reading [#######.......]  50 % 2 MB, 102.4 KB/s, 0:20 left',
      '50:02:91:c3:37:02: identified',
      '/dev/ttyUSB2: connecting',
    ]);
    progress.remove('b');
    assert.deepEqual(screen.lines, []);
    await clock.advance(100);
    progress.update('a', { phase: 'leaving' });
    assert.deepEqual(screen.lines, ['50:02:91:c3:37:01: starting its app', '/dev/ttyUSB2: connecting']);
    progress.remove('a');
    progress.remove('/dev/ttyUSB2');
    assert.deepEqual(screen.lines, []);
  });

  test('Ctrl-C is echoed behind the line: it does not wrap, and nothing of it stays', () => {
    const screen = new Screen(40);
    const progress = new ProgressLines(screen, new VirtualClock());
    progress.update('/dev/serial/by-id/usb-a-very-long-name-of-a-port', { phase: 'connecting' });
    screen.write('^C');
    progress.clear();
    assert.deepEqual(screen.lines, []);
  });

  test('more boards than the screen has lines: the rest is counted', () => {
    const screen = new Screen(80, 6);
    const progress = new ProgressLines(screen, new VirtualClock());
    for (let index = 10; index < 20; index++) progress.update(`port${index}`, { phase: 'connecting' });
    assert.equal(screen.lines.length, 4);
    assert.equal(screen.lines.at(-1), 'and 7 more');
  });

  test('a narrow terminal keeps the numbers and drops the bar; hostile names stay text', async () => {
    const clock = new VirtualClock();
    const screen = new Screen(50);
    const progress = new ProgressLines(screen, clock);
    progress.update('x\x1b[2Jy', { phase: 'reading', doneBytes: 1, totalBytes: 2 });
    assert.match(screen.lines[0] ?? '', /^x·\[2Jy: reading \[#+\.+\] {2}50 % 1 byte$/);
    await clock.advance(3_700_000);
    progress.update('x\x1b[2Jy', { phase: 'reading', doneBytes: MIB, totalBytes: 100 * MIB });
    assert.match(screen.lines[0] ?? '', /^x·\[2Jy: reading {3}1 % 1 MB, 283 bytes\/s, 101/);
  });

  test('numbers that change often are not drawn each time; a phase, and the end of one, are', () => {
    const clock = new VirtualClock();
    const screen = new Screen();
    const progress = new ProgressLines(screen, clock);
    progress.update('a', { phase: 'reading', doneBytes: 1024, totalBytes: MIB });
    progress.update('a', { phase: 'reading', doneBytes: 2048, totalBytes: MIB });
    assert.match(screen.lines[0] ?? '', / 1 KB$/);
    progress.update('a', { phase: 'reading', doneBytes: MIB, totalBytes: MIB });
    assert.match(screen.lines[0] ?? '', /100 % 1 MB$/);
    progress.update('a', { phase: 'verifying' });
    assert.equal(screen.lines[0], 'a: verifying');
  });

  test('nothing where there is no terminal', () => {
    let text = '';
    const progress = new ProgressLines({ write: (more) => (text += more), isTTY: false }, new VirtualClock());
    progress.update('a', { phase: 'connecting' });
    progress.remove('a');
    assert.equal(text, '');
  });
});
