/** The journals of a fleet, as one station uses them: says what it did, and hears what others did. */

import type { Archive } from '../../archive/types.ts';
import type { Clock } from '../../clock.ts';
import type { Mac } from '../../mac.ts';
import type { Bucket } from '../push-backup.ts';
import { type Freshness, freshnessOf } from './freshness.ts';
import type { News } from './news.ts';
import { type LookOptions, readJournals } from './reader.ts';
import { Receiver } from './receive.ts';
import { type Scan, type ScanOptions, scanStore } from './scan.ts';
import { encodeLine } from './segment.ts';
import { JournalState } from './state.ts';
import { type Written, writeJournal } from './writer.ts';

export interface JournalParts {
  readonly archive: Archive;
  /** Of the state, for this store and archive. */
  readonly folder: string;
  readonly clock: Clock;
  /** Of espd. */
  readonly version: string;
  /** Of the archive's disk. */
  readonly freeBytes: () => Promise<number>;
  /** Of the config. */
  readonly minFreeBytes: number | null;
}

export interface Removed {
  readonly mac: Mac;
  readonly id: string;
  /** Key behind the prefix, with a slash at its end. */
  readonly folder: string;
}

export class Journal {
  readonly #parts: JournalParts;
  readonly #state: JournalState;
  readonly #receiver: Receiver;

  constructor(parts: JournalParts) {
    this.#parts = parts;
    this.#state = new JournalState(parts.folder);
    this.#receiver = new Receiver(parts);
  }

  /** Puts what is not said yet. Undefined: another process of this station is at it. @throws EspdError `store-...` */
  write(bucket: Bucket, signal: AbortSignal, onProgress?: (lines: number) => void): Promise<Written | undefined> {
    const { archive, clock } = this.#parts;
    return writeJournal({ archive, clock, state: this.#state }, bucket, signal, onProgress);
  }

  /** Takes in what others have said. @throws EspdError `store-...`, `disk-full`, `archive-unwritable` */
  look(bucket: Bucket, options: LookOptions): Promise<News> {
    const { clock, version } = this.#parts;
    return readJournals({ clock, version, state: this.#state, receiver: this.#receiver }, bucket, options);
  }

  /** Compares with everything that lies in the bucket. */
  scan(bucket: Bucket, options: ScanOptions): Promise<Scan> {
    return scanStore(this.#parts, bucket, options);
  }

  /** Backups that were removed from the bucket: surely said, now or at a later {@link write}, when it resolves. */
  async add(removed: readonly Removed[]): Promise<void> {
    const at = this.#parts.clock.date().toISOString();
    await this.#state.addToOutbox(removed.map((each) => encodeLine({ kind: 'removed', ...each, at })));
  }

  /** What is known of the others without asking the store. Never rejects. */
  async freshness(): Promise<Freshness> {
    return freshnessOf(await this.#state.heard(), this.#parts.clock.date());
  }
}
