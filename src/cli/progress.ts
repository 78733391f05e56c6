/** The one line on a terminal that tells what the jobs are doing, drawn over itself. */

import type { Mac } from '../mac.ts';
import type { Progress } from '../transfer/session.ts';
import { formatSize, printable } from './text.ts';

/** Where the line is drawn. */
interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  /** Width in characters. */
  readonly columns?: number | undefined;
}

interface Job {
  readonly mac: Mac | undefined;
  readonly progress: Progress;
}

const BAR_WIDTH = 24;
const DEFAULT_COLUMNS = 80;

const WORDS: Readonly<Record<Progress['phase'], string>> = {
  connecting: 'connecting',
  identified: 'identified',
  comparing: 'comparing digests',
  reading: 'reading',
  writing: 'writing',
  verifying: 'verifying',
  leaving: 'starting its app',
  released: 'keeping',
};

export class ProgressLine {
  readonly #stream: ProgressStream;
  readonly #jobs = new Map<string, Job>();
  #shown = '';

  /** Shows nothing where `stream` is no terminal. */
  constructor(stream: ProgressStream) {
    this.#stream = stream;
  }

  update(name: string, progress: Progress): void {
    if (this.#stream.isTTY !== true) return;
    this.#jobs.set(name, { mac: progress.identity?.mac ?? this.#jobs.get(name)?.mac, progress });
    this.#draw(this.#text());
  }

  remove(name: string): void {
    this.#jobs.delete(name);
    this.clear();
  }

  /** Takes the line away; the next update shows it again. */
  clear(): void {
    this.#draw('');
  }

  #text(): string {
    const [first, second] = this.#jobs;
    if (first === undefined) return '';
    if (second === undefined) return describe(...first);
    return [...this.#jobs].map(([name, job]) => describeShort(name, job)).join('  ');
  }

  /** Without escape sequences, so that every terminal understands it: what was longer before is overwritten. */
  #draw(text: string): void {
    // One column short of the width: a line that wraps could not be drawn over.
    const line = printable(text).slice(0, (this.#stream.columns || DEFAULT_COLUMNS) - 1);
    if (line === this.#shown) return;
    this.#stream.write(`\r${line.padEnd(this.#shown.length)}${line === '' ? '\r' : ''}`);
    this.#shown = line;
  }
}

function describe(name: string, { mac, progress }: Job): string {
  const share = shareOf(progress);
  const bar = share === undefined ? '' : ` ${barOf(share)} ${percent(share)} ${formatSize(progress.doneBytes ?? 0)}`;
  return `${mac ?? name}: ${WORDS[progress.phase]}${bar}`;
}

function describeShort(name: string, { mac, progress }: Job): string {
  const share = shareOf(progress);
  return `${mac ?? name} ${share === undefined ? WORDS[progress.phase] : percent(share)}`;
}

/** 0 to 1; undefined where nothing is counted (yet). */
function shareOf({ doneBytes, totalBytes }: Progress): number | undefined {
  return doneBytes && totalBytes ? Math.min(1, doneBytes / totalBytes) : undefined;
}

function barOf(share: number): string {
  const full = Math.round(share * BAR_WIDTH);
  return `[${'#'.repeat(full)}${'.'.repeat(BAR_WIDTH - full)}]`;
}

function percent(share: number): string {
  return `${String(Math.floor(share * 100)).padStart(3)} %`;
}
