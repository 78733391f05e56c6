/**
 * Plug-ins whose job has not ended, kept across a restart of the daemon: one that was killed, or stopped in the middle,
 * looks at those boards again, although they were there before it. By the key of their plug-in, which is the same after a
 * restart; so a board that was plugged in anew meanwhile is judged as any other.
 */

import type { ArchiveCache } from '../archive/types.ts';
import type { Logger } from '../log.ts';
import type { PortInfo } from '../serial/ports.ts';

const DOCUMENT = 'unfinished.json';
const VERSION = 1;
const MOST_ENTRIES = 256;
const MAX_KEY = 4096;

export class Unfinished {
  readonly #cache: ArchiveCache;
  readonly #log: Logger;
  /** Of the daemon before. */
  #left: ReadonlySet<string> = new Set();
  readonly #open = new Set<string>();
  #last: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(cache: ArchiveCache, log: Logger) {
    this.#cache = cache;
    this.#log = log;
  }

  /** Never rejects. */
  async load(): Promise<void> {
    this.#left = new Set(parse(await this.#cache.read(DOCUMENT)));
    if (this.#left.size > 0) this.#log.debug('Some jobs had not ended', { count: this.#left.size });
  }

  /** The daemon before this one had begun with it. */
  isLeft({ key }: PortInfo): boolean {
    return this.#left.has(key);
  }

  began({ key }: PortInfo): void {
    if (this.#isClosed || this.#open.has(key)) return;
    this.#open.add(key);
    this.#write();
  }

  ended({ key }: PortInfo): void {
    if (this.#isClosed || !this.#open.delete(key)) return;
    this.#write();
  }

  /** What is open now stays on record. Resolves when that is written. */
  close(): Promise<void> {
    this.#isClosed = true;
    return this.#last;
  }

  #write(): void {
    this.#last = this.#last.then(() => {
      const keys = [...this.#open].slice(-MOST_ENTRIES);
      return this.#cache.write(DOCUMENT, `${JSON.stringify({ version: VERSION, keys })}\n`);
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
