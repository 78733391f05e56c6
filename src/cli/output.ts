/** What a person or a script sees: results on stdout, everything else on stderr. */

import { Writable } from 'node:stream';
import type { EspdError } from '../errors.ts';
import type { Progress } from '../transfer/session.ts';
import { ProgressLines } from './progress.ts';
import {
  type Span,
  bold,
  formatTable,
  jsonLine,
  jsonText,
  printable,
  renderLine,
  wrapRemark,
  wrapText,
} from './text.ts';

/** One of the two streams of a process, as far as it is used here. */
export interface TerminalStream {
  /** False = what was written has not left yet: `onWritten` is called once it has, or never will. */
  write(data: string | Uint8Array, onWritten?: () => void): unknown;
  /** More has been written than the reader takes. */
  readonly writableNeedDrain?: boolean | undefined;
  readonly isTTY?: boolean | undefined;
  /** Width in characters, where the stream is a terminal. */
  readonly columns?: number | undefined;
  /** Height in lines, where it is a terminal. */
  readonly rows?: number | undefined;
  /** Descriptor, by which the journal is recognized. */
  readonly fd?: number | undefined;
  /** Tells when the width or height of a terminal changes. */
  on?(event: 'resize', listener: () => void): unknown;
  off?(event: 'resize', listener: () => void): unknown;
}

/** The streams of the process; injected, so that tests can read what was said. */
export interface Terminal {
  readonly stdout: TerminalStream;
  readonly stderr: TerminalStream;
  /** Asks a question on the terminal; undefined when nobody is there to answer. */
  readonly ask?: (question: string, how?: { readonly hidden?: boolean }) => Promise<string>;
}

export interface OutputOptions {
  readonly json: boolean;
  /** Styles where a stream is a terminal; false = nowhere. */
  readonly color: boolean;
  /** Gets the document of the command, whether or not somebody wants to see it. */
  readonly onDocument?: (document: unknown) => void;
  /** Gets each of the many documents of a command that goes on, so as well. */
  readonly onEvent?: (event: unknown) => void;
}

/** As wide as `espd: `. */
const ERROR_INDENT = '      ';
const NOTE_INDENT = '  ';
/** Whoever is asked sits at a terminal that is not always one of the two streams. */
const MOST_ASKED_COLUMNS = 79;

/** Characters that a line may have; a stream that is no terminal wraps nothing. */
function widthOf({ isTTY, columns }: TerminalStream): number {
  return isTTY === true ? (columns || 80) - 1 : Infinity;
}

export class Output {
  readonly json: boolean;
  readonly #terminal: Terminal;
  readonly #color: boolean;
  readonly #onDocument: ((document: unknown) => void) | undefined;
  readonly #onEvent: ((event: unknown) => void) | undefined;
  readonly #progress: ProgressLines;

  constructor(terminal: Terminal, options: OutputOptions) {
    this.#terminal = terminal;
    this.json = options.json;
    this.#color = options.color;
    this.#onDocument = options.onDocument;
    this.#onEvent = options.onEvent;
    this.#progress = new ProgressLines(terminal.stderr);
  }

  /** Whether somebody could answer a question. */
  get canAsk(): boolean {
    return !this.json && this.#terminal.ask !== undefined;
  }

  /** Whether somebody reads remarks as they come. */
  get isWatched(): boolean {
    return this.canAsk && this.#terminal.stderr.isTTY === true;
  }

  /** The one JSON document of a command. Nothing when the output is for people. */
  document(value: unknown): void {
    this.#onDocument?.(value);
    if (this.json) this.#terminal.stdout.write(`${jsonText(value)}\n`);
  }

  /** One of many JSON objects, a line each, of a command that goes on. Nothing when the output is for people. */
  event(value: unknown): void {
    this.#onEvent?.(value);
    if (this.json) this.#terminal.stdout.write(`${jsonLine(value)}\n`);
  }

  /** Whether what is written to stdout goes to a terminal. */
  get isTerminal(): boolean {
    return this.#terminal.stdout.isTTY === true;
  }

  /** A result that is no text, to stdout as it is; resolves when there is room for more. */
  raw(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => {
      if (this.#terminal.stdout.write(bytes, () => resolve()) !== false) resolve();
    });
  }

  /** A line of the result, for people. Nothing with `--json`. */
  line(...spans: readonly Span[]): void {
    if (!this.json) this.#write(this.#terminal.stdout, spans);
  }

  /** A result that may be longer than a line: wrapped between words at a terminal, what follows indented. */
  paragraph(text: string, indent: string): void {
    const width = widthOf(this.#terminal.stdout);
    for (const line of text.length <= width ? [text] : wrapText(text, width, indent)) this.line(line);
  }

  /** Characters in a line of a table; Infinity where nothing wraps. */
  get columns(): number {
    const { isTTY, columns } = this.#terminal.stdout;
    return isTTY === true && columns ? columns : Infinity;
  }

  /** Whether stdout is to have styles. */
  get isStyled(): boolean {
    return this.#color && this.isTerminal;
  }

  /** Lines of the screen; Infinity where there is none. */
  get rows(): number {
    const { isTTY, rows } = this.#terminal.stdout;
    return isTTY === true && rows ? rows : Infinity;
  }

  /** A result in a form of its own, written as it is: its texts are printable already. Nothing with `--json`. */
  text(text: string): void {
    if (this.json) return;
    this.#progress.clear();
    this.#terminal.stdout.write(text);
  }

  /** Text behind a head that stands as it is; at a terminal wrapped, what follows as far in as the text begins. */
  behind(head: string, text: string): void {
    const width = widthOf(this.#terminal.stdout) - head.length;
    const [first = '', ...others] = text.length <= width ? [text] : wrapText(text, width);
    this.line(head + first);
    for (const line of others) this.line(' '.repeat(head.length) + line);
  }

  /** Lines in columns, the first row being the heading; cut where they would wrap on a terminal. */
  table(rows: readonly (readonly string[])[], indent = ''): void {
    const width = this.columns;
    const lines = formatTable(rows).map((row) => {
      const text = indent + row;
      return `${renderLine([text.length <= width ? text : `${text.slice(0, width - 1)}\u2026`], false)}\n`;
    });
    // In one call: a call for each of 2,000 lines would take longer than all of them.
    if (lines.length > 0) this.text(lines.join(''));
  }

  /**
   * A remark beside the result, for people, on stderr; of plain text, at a terminal wrapped between words. What is
   * indented, such as a command of another program, stands as it is.
   */
  note(...spans: readonly Span[]): void {
    if (this.json) return;
    const { stderr } = this.#terminal;
    const [text] = spans;
    if (spans.length !== 1 || typeof text !== 'string' || text.startsWith(' ')) this.#write(stderr, spans);
    else for (const line of wrapRemark(text, widthOf(stderr), NOTE_INDENT)) this.#write(stderr, [line]);
  }

  /** An error for people: what, its code, and the hint below it; at a terminal wrapped between words. */
  error(error: EspdError): void {
    const { stderr } = this.#terminal;
    const text = `${error.message} (${error.code})${error.hint === '' ? '' : `\n${error.hint}`}`;
    const width = widthOf(stderr) - ERROR_INDENT.length;
    // The faults of a config come one a line.
    const lines = text.split('\n').flatMap((line) => wrapRemark(line, width));
    const [first = '', ...others] = lines;
    this.#write(stderr, [bold('espd:'), ` ${first}`]);
    for (const line of others) this.#write(stderr, [ERROR_INDENT + line]);
  }

  /**
   * Asks, and is true only for a clear yes. Call only when {@link canAsk}.
   * @param shown remarks that the question is about: said again where stderr has taken them elsewhere
   */
  async confirm(question: string, shown: readonly string[] = []): Promise<boolean> {
    this.#progress.clear();
    const unseen = this.#terminal.stderr.isTTY === true ? [] : shown;
    const asked = wrapText(`${question} [y/N]`, Math.min(widthOf(this.#terminal.stderr), MOST_ASKED_COLUMNS));
    const lines = [...unseen, ...asked].map((line) => printable(line));
    const answer = await this.#terminal.ask?.(`${lines.join('\n')} `);
    return /^\s*y(es)?\s*$/i.test(answer ?? '');
  }

  /** A document that goes elsewhere leaves the terminal free for progress. */
  get #showsProgress(): boolean {
    return !this.json || !this.isTerminal;
  }

  /** Shows what the job at `name` is doing, in place; nothing where stderr is no terminal. */
  progress(name: string, progress: Progress): void {
    if (this.#showsProgress) this.#progress.update(name, progress);
  }

  /** The job at `name` has ended, one way or the other. */
  progressEnd(name: string): void {
    this.#progress.remove(name);
  }

  /** What a command without boards is doing, in place, as {@link progress}; empty = nothing any more. */
  status(text: string): void {
    if (this.#showsProgress) this.#progress.status(text);
  }

  /** stdout and stderr for a log: the line of progress is taken away before a line comes. */
  get stdoutStream(): Writable {
    return this.#logStream(this.#terminal.stdout);
  }

  get stderrStream(): Writable {
    return this.#logStream(this.#terminal.stderr);
  }

  #logStream(target: TerminalStream): Writable {
    const stream = new Writable({
      decodeStrings: false,
      write: (chunk: unknown, _encoding, done) => {
        this.#progress.clear();
        target.write(String(chunk));
        done();
      },
    });
    return Object.assign(stream, { isTTY: target.isTTY === true, fd: target.fd });
  }

  #write(stream: TerminalStream, spans: readonly Span[]): void {
    this.#progress.clear();
    const styled = this.#color && stream.isTTY === true;
    stream.write(`${renderLine(spans, styled)}\n`);
  }
}
