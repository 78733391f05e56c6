/** What the jobs are doing, on a terminal: a line for each of them, drawn over itself. */

import { type Clock, systemClock } from '../clock.ts';
import type { Mac } from '../mac.ts';
import type { Progress } from '../transfer/session.ts';
import { formatSize, printable } from './text.ts';

/** Where the lines are drawn. */
interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Width and height in characters. */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** More has been written than the reader takes. */
  readonly writableNeedDrain?: boolean | undefined;
}

interface Job {
  readonly mac: Mac | undefined;
  readonly progress: Progress;
  /** Where the present phase stood when its first bytes were counted, in ms and bytes. */
  readonly since: { readonly atMs: number; readonly doneBytes: number };
}

const DEFAULT_COLUMNS = 80;
const DEFAULT_ROWS = 24;
const BAR_WIDTH = { least: 8, most: 24 };
/** A terminal echoes Ctrl-C as `^C` where the cursor is: it must find room there, or the line wraps and stays. */
const ECHO_COLUMNS = 2;
/** Before a phase has lasted so long, its rate says nothing. */
const TELLING_MS = 1000;
/** Drawn at most so often while only numbers change. */
const REDRAW_MS = 80;

export const PHASE_WORDS: Readonly<Record<Progress['phase'], string>> = {
  connecting: 'connecting',
  identified: 'identified',
  comparing: 'comparing digests',
  reading: 'reading',
  writing: 'writing',
  verifying: 'verifying',
  leaving: 'starting its app',
  released: 'keeping',
  fetching: 'fetching',
};

export class ProgressLines {
  readonly #stream: ProgressStream;
  readonly #clock: Clock;
  readonly #jobs = new Map<string, Job>();
  #shown: readonly string[] = [];
  #drawnAtMs = -Infinity;
  #status = '';

  /** Shows nothing where `stream` is no terminal. */
  constructor(stream: ProgressStream, clock: Clock = systemClock) {
    this.#stream = stream;
    this.#clock = clock;
  }

  update(name: string, progress: Progress): void {
    if (this.#stream.isTTY !== true) return;
    const before = this.#jobs.get(name);
    const nowMs = this.#clock.now();
    const isSamePhase = before?.progress.phase === progress.phase;
    const since =
      isSamePhase && before.since.doneBytes > 0 ? before.since : { atMs: nowMs, doneBytes: progress.doneBytes ?? 0 };
    this.#jobs.set(name, { mac: progress.identity?.mac ?? before?.mac, progress, since });
    const isOver = progress.doneBytes !== undefined && progress.doneBytes === progress.totalBytes;
    if (isSamePhase && !isOver && this.#shown.length > 0 && nowMs - this.#drawnAtMs < REDRAW_MS) return;
    // Whoever does not read (a stopped terminal) must not make the process keep all frames.
    if (this.#stream.writableNeedDrain === true) return;
    this.#drawnAtMs = nowMs;
    this.#draw(this.#lines(nowMs));
  }

  /** The job at `name` has ended; the others are drawn again by their next update. */
  remove(name: string): void {
    this.#jobs.delete(name);
    this.clear();
  }

  /** What the command as a whole is doing, where no job is at work; empty = nothing. */
  status(text: string): void {
    if (this.#stream.isTTY !== true) return;
    this.#status = text;
    this.#draw(this.#lines(this.#clock.now()));
  }

  /** Takes the lines away; the next update shows them again. */
  clear(): void {
    this.#draw([]);
  }

  #lines(nowMs: number): string[] {
    const width = (this.#stream.columns || DEFAULT_COLUMNS) - 1 - ECHO_COLUMNS;
    if (this.#jobs.size === 0) return this.#status === '' ? [] : [printable(this.#status).slice(0, width)];
    const lines = [...this.#jobs].map(([name, job]) => describe(name, job, nowMs, width));
    // What has scrolled out of the screen could not be drawn over.
    const room = Math.max(1, (this.#stream.rows || DEFAULT_ROWS) - 2);
    if (lines.length <= room) return lines;
    return [...lines.slice(0, room - 1), `and ${lines.length - room + 1} more`];
  }

  /**
   * One line is drawn without escape sequences, which every terminal understands; several need the cursor to go up
   * (ECMA-48, 8.3.22 CUU) and the rest of the screen erased (8.3.39 ED).
   */
  #draw(lines: readonly string[]): void {
    if (lines.length === this.#shown.length && lines.every((line, index) => line === this.#shown[index])) return;
    const before = this.#shown;
    this.#shown = lines;
    const [line = ''] = lines;
    if (before.length <= 1 && lines.length <= 1) {
      const echo = ' '.repeat(line === '' ? ECHO_COLUMNS : 0);
      const blanks = (before[0] ?? '').length;
      this.#stream.write(`\r${line.padEnd(blanks)}${echo}${line === '' ? '\r' : ''}`);
      return;
    }
    const up = before.length > 1 ? `\x1b[${before.length - 1}A` : '';
    this.#stream.write(`\r${up}\x1b[J${lines.join('\n')}`);
  }
}

/** One line of at most `width` characters; the bar takes the room that is left. */
function describe(name: string, { mac, progress, since }: Job, nowMs: number, width: number): string {
  const head = `${mac ?? name}: ${PHASE_WORDS[progress.phase]}`;
  const { doneBytes, totalBytes } = progress;
  if (!doneBytes || !totalBytes) return printable(head).slice(0, width);
  const share = Math.min(1, doneBytes / totalBytes);
  const bytesPerMs = (doneBytes - since.doneBytes) / (nowMs - since.atMs);
  const isTold = nowMs - since.atMs >= TELLING_MS && bytesPerMs > 0;
  const rate = isTold
    ? `, ${formatSize(Math.round(bytesPerMs * 1000))}/s, ${timeLeft((totalBytes - doneBytes) / bytesPerMs)}`
    : '';
  const tail = ` ${String(Math.floor(share * 100)).padStart(3)} % ${formatSize(doneBytes)}${rate}`;
  const room = Math.min(BAR_WIDTH.most, width - head.length - tail.length - ' []'.length);
  const bar = room < BAR_WIDTH.least ? '' : ` ${barOf(share, room)}`;
  return printable(head + bar + tail).slice(0, width);
}

export function barOf(share: number, width: number): string {
  const full = Math.round(share * width);
  return `[${'#'.repeat(full)}${'.'.repeat(width - full)}]`;
}

/** `0:07 left`, `1:02:03 left`. */
export function timeLeft(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  const two = (value: number) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return `${hours === 0 ? minutes : `${hours}:${two(minutes)}`}:${two(seconds % 60)} left`;
}
