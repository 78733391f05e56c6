/**
 * Plug-ins whose job has not ended, kept across a restart of the daemon: one that was killed, or stopped in the middle,
 * looks at those boards again, although they were there before it. By the key of their plug-in, which is the same after a
 * restart; so a board that was plugged in anew meanwhile is judged as any other.
 */

import type { Archive } from '../archive/types.ts';
import type { Logger } from '../log.ts';
import type { PortInfo } from '../serial/ports.ts';

const DOCUMENT = 'unfinished.json';
const VERSION = 1;
const MOST_ENTRIES = 256;
const MAX_KEY = 4096;

/** As much of the archive as the record needs. */
export type RecordStore = Pick<Archive, 'cache' | 'checkReadable'>;

export class Unfinished {
  readonly #archive: RecordStore;
  readonly #log: Logger;
  /** Of the daemon before. */
  #left: ReadonlySet<string> = new Set();
  readonly #open = new Set<string>();
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;
  #hasBegun = false;

  constructor(archive: RecordStore, log: Logger) {
    this.#archive = archive;
    this.#log = log;
  }

  /** Never rejects. */
  async load(): Promise<void> {
    this.#left = new Set(parse(await this.#archive.cache.read(DOCUMENT)));
    if (this.#left.size > 0) this.#log.debug('Some jobs had not ended', { count: this.#left.size });
  }

  /** The daemon before this one had begun with it. */
  isLeft({ key }: PortInfo): boolean {
    return this.#left.has(key);
  }

  began({ key }: PortInfo): void {
    if (this.#isClosed || this.#open.has(key)) return;
    this.#open.add(key);
    this.#hasBegun = true;
    this.#write();
  }

  /** Written with what comes next: a board that is looked at once too often costs a digest. */
  ended({ key }: PortInfo): void {
    if (!this.#isClosed) this.#open.delete(key);
  }

  /** What is open now stays on record. Resolves when that is written. */
  close(): Promise<void> {
    if (!this.#isClosed && this.#hasBegun) this.#write();
    this.#isClosed = true;
    return this.#last;
  }

  #write(): void {
    this.#last = this.#last.then(async () => {
      const keys = [...this.#open].slice(-MOST_ENTRIES);
      // Where the archive's disk is not mounted, nothing may begin in its mount point.
      await this.#archive.checkReadable().then(
        () => this.#archive.cache.write(DOCUMENT, `${JSON.stringify({ version: VERSION, keys })}\n`),
        () => undefined,
      );
    });
  }
}

/** A cache may hold anything. */
function parse(bytes: Buffer | undefined): string[] {
  if (bytes === undefined) return [];
  try {
    const document = JSON.parse(bytes.toString('utf8')) as { version?: unknown; keys?: unknown } | null;
    if (document?.version !== VERSION || !Array.isArray(document.keys)) return [];
    const keys: readonly unknown[] = document.keys;
    return keys.filter((key): key is string => typeof key === 'string' && key.length <= MAX_KEY).slice(-MOST_ENTRIES);
  } catch {
    return [];
  }
}
