/** What must be true in the end, noted while it happens: what was ever complete, what was pinned so that all have to know it. */

import assert from 'node:assert/strict';
import { type DirectBucket, sha256 } from './bucket.ts';
import type { Station } from './station.ts';

interface Pin {
  readonly key: string;
  readonly station: Station;
  isTold: boolean;
}

export class Ledger {
  /** By `MAC ID`: the digest of each manifest that was ever complete under that name, and of which station. */
  readonly ever = new Map<string, Map<string, string>>();
  readonly #bucket: DirectBucket;
  readonly #pins = new Set<Pin>();
  /** Told to all, and there ever since: these must not go. */
  readonly #firm = new Set<string>();
  /** Of these nobody can say which one counts: clocks differ. */
  readonly #unpinned = new Set<string>();
  readonly #pruners = new Set<Promise<unknown>>();
  readonly #labels = new Map<string, Set<string>>();
  /** Boards that somebody has surely given a label. */
  readonly #labelled = new Set<string>();

  constructor(bucket: DirectBucket) {
    this.#bucket = bucket;
  }

  /** How many different backups there ever were. */
  get made(): number {
    return [...this.ever.values()].reduce((sum, manifests) => sum + manifests.size, 0);
  }

  get firm(): readonly string[] {
    return [...this.#firm];
  }

  async note(station: Station): Promise<void> {
    for (const [key, files] of await station.backups()) {
      const manifests = this.ever.get(key) ?? new Map<string, string>();
      this.ever.set(key, manifests);
      const digest = sha256(files.get('manifest.json') ?? Buffer.alloc(0));
      if (!manifests.has(digest)) manifests.set(digest, station.name);
    }
  }

  /** To be called before; the answer when it is done. */
  labelling(mac: string, label: string): () => void {
    this.#labels.set(mac, (this.#labels.get(mac) ?? new Set<string>()).add(label));
    return () => void this.#labelled.add(mac);
  }

  mayBeLabel(mac: string, label: string | null): boolean {
    return label === null ? !this.#labelled.has(mac) : this.#labels.get(mac)?.has(label) === true;
  }

  pinned(station: Station, key: string): void {
    if (!this.#unpinned.has(key)) this.#pins.add({ key, station, isTold: false });
  }

  /** From now on, whether or not it comes to its end. */
  unpinning(key: string): void {
    this.#unpinned.add(key);
    this.#firm.delete(key);
    for (const pin of this.#pins) if (pin.key === key) this.#pins.delete(pin);
  }

  /** What is to be called before `station` tells the others; the answer when it has. */
  telling(station: Station): () => Promise<void> {
    const before = [...this.#pins].filter((pin) => pin.station === station && !pin.isTold);
    return async () => {
      for (const pin of before) pin.isTold = true;
      // Whoever had read the journals before that may still remove it, and then it is too late for this pin.
      await Promise.allSettled([...this.#pruners]);
      const names = await this.#bucket.names();
      for (const pin of before) {
        if (!this.#pins.delete(pin)) continue;
        const [mac = '', id = ''] = pin.key.split(' ');
        if (await this.#bucket.holds(mac, id, names)) this.#firm.add(pin.key);
      }
    };
  }

  async pruning<T>(work: Promise<T>): Promise<T> {
    this.#pruners.add(work);
    try {
      return await work;
    } finally {
      this.#pruners.delete(work);
    }
  }

  async checkPins(): Promise<void> {
    const firm = [...this.#firm];
    const names = await this.#bucket.names();
    for (const key of firm) {
      if (!this.#firm.has(key)) continue;
      const [mac = '', id = ''] = key.split(' ');
      assert.ok(await this.#bucket.holds(mac, id, names), `${key} is pinned, all were told, and it is gone`);
    }
  }
}
