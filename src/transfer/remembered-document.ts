/**
 * What sessions remember for later ones: entries by key, all of a kind in one document of a cache. It may be lost, broken
 * or hostile at any time; then nothing is remembered, and nothing fails.
 */

import type { Logger } from '../log.ts';

/** Named pieces of data that may be lost at any time. */
export interface CacheStore {
  read(name: string): Promise<Buffer | undefined>;
  write(name: string, bytes: Buffer): Promise<void>;
}

export interface DocumentKind<T> {
  /** Name in the cache. */
  readonly name: string;
  /** What it is about, for the log: `lines`. */
  readonly about: string;
  /** The sound entries of a document; throws, or gives none, for one that is not. */
  readonly parse: (bytes: Buffer | undefined) => Map<string, T>;
  readonly format: (entries: ReadonlyMap<string, T>) => Buffer;
}

export class RememberedDocument<T> {
  readonly #store: CacheStore;
  readonly #kind: DocumentKind<T>;
  readonly #log: Logger;
  /** One after the other: each reads what the one before has written. Other processes can come between; then an entry is forgotten. */
  #last: Promise<void> = Promise.resolve();

  constructor(store: CacheStore, kind: DocumentKind<T>, log: Logger) {
    this.#store = store;
    this.#kind = kind;
    this.#log = log;
  }

  /** Never rejects. */
  async read(): Promise<Map<string, T>> {
    const { about, name, parse } = this.#kind;
    try {
      return parse(await this.#store.read(name));
    } catch (error) {
      this.#log.debug(`What was remembered of ${about} cannot be read`, { error: String(error) });
      return new Map();
    }
  }

  /** Adds to what is there by then, or replaces it. Never rejects. */
  add(learned: ReadonlyMap<string, T>): Promise<void> {
    this.#last = this.#last.then(() => this.#add(learned));
    return this.#last;
  }

  async #add(learned: ReadonlyMap<string, T>): Promise<void> {
    const { about, format, name } = this.#kind;
    try {
      const entries = await this.read();
      for (const [key, entry] of learned) entries.set(key, entry);
      await this.#store.write(name, format(entries));
    } catch (error) {
      this.#log.debug(`What was learned of ${about} cannot be kept`, { error: String(error) });
    }
  }
}
