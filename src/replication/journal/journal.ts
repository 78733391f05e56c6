/** The journals of a fleet, as one station uses them: says what it did, and hears what others did. */

import type { Clock } from '../../clock.ts';
import type { Mac } from '../../mac.ts';
import { addingTo } from '../blocks/adding-to.ts';
import type { BlockLibrary } from '../blocks/block-library.ts';
import type { Bucket } from '../push-backup.ts';
import type { JournalArchive } from './own-lines.ts';
import { type Freshness, type OtherStation, freshnessOf, otherStationsOf } from './freshness.ts';
import { type Statement, sayGone } from './gone.ts';
import type { News } from './news.ts';
import { type LookOptions, readJournals } from './reader.ts';
import { HeldFiles } from './held-files.ts';
import { Receiver } from './receive.ts';
import { mendJournal } from './mend.ts';
import { type Scan, type ScanOptions, scanStore } from './scan.ts';
import { encodeLine } from './segment.ts';
import { JournalState } from './state.ts';
import { whenGone } from './when-noted.ts';
import { type WriterParts, type Written, writeJournal } from './writer.ts';

export interface JournalParts {
  readonly archive: JournalArchive;
  /** Of the state, for this store and archive. */
  readonly folder: string;
  readonly clock: Clock;
  /** Of espd. */
  readonly version: string;
  /** Gets the blocks of every backup that becomes known; absent = none is kept. */
  readonly library?: BlockLibrary | undefined;
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
  readonly #held: HeldFiles;
  readonly #receiver: Receiver;

  constructor(parts: JournalParts) {
    const { archive, library } = parts;
    this.#parts = { ...parts, archive: library === undefined ? archive : addingTo(library, archive) };
    this.#state = new JournalState(parts.folder, archive.cache);
    this.#held = new HeldFiles({ root: archive.root, cache: archive.cache, name: this.#state.heldName });
    this.#receiver = new Receiver(this.#parts);
  }

  get #writer(): WriterParts {
    const { archive, clock } = this.#parts;
    return { archive, clock, state: this.#state, held: this.#held };
  }

  /** Puts what is not said yet. Undefined: another process of this station is at it. @throws EspdError `store-...` */
  write(bucket: Bucket, signal: AbortSignal, onProgress?: (lines: number) => void): Promise<Written | undefined> {
    return this.#adding(() => writeJournal(this.#writer, bucket, signal, onProgress), signal);
  }

  /** Takes in what others have said. @throws EspdError `store-...`, `disk-full`, `archive-unwritable` */
  look(bucket: Bucket, options: LookOptions): Promise<News> {
    return this.#adding(() => this.#read(bucket, options), options.signal);
  }

  #read(bucket: Bucket, options: LookOptions): Promise<News> {
    const { archive, clock, version } = this.#parts;
    const own = { state: this.#state, held: this.#held, receiver: this.#receiver };
    return readJournals({ archive, clock, version, ...own }, bucket, options);
  }

  /**
   * Compares with everything that lies in the bucket. What of this station's own journal is missing or damaged there is said
   * again. @throws EspdError `store-...`, `disk-full`, `archive-...`
   */
  scan(bucket: Bucket, options: ScanOptions): Promise<Scan> {
    const { archive, clock } = this.#parts;
    const { signal } = options;
    const hear = async () => {
      while ((await this.#read(bucket, { signal, isThorough: true })).isMore);
    };
    return this.#adding(async () => {
      const scan = await scanStore({ archive, clock, hear }, bucket, options);
      const mended = await mendJournal(this.#writer, bucket, signal);
      await this.#state.keepScanned(clock.date().toISOString());
      return { ...scan, mended: mended ?? 0 };
    }, signal);
  }

  /** When everything was compared last, ISO 8601 UTC; null = never. */
  scannedAt(): Promise<string | null> {
    return this.#state.scannedAt();
  }

  /** A backup that was removed from the bucket: noted here, and surely said, now or at a later {@link write}, when it resolves. */
  async addRemoved({ id: store, store: objects }: Pick<Bucket, 'id' | 'store'>, removed: Removed): Promise<void> {
    const { elsewhere } = this.#parts.archive;
    const at = await whenGone(elsewhere, { ...removed, store }, objects.now());
    await this.#state.addToOutbox([encodeLine({ kind: 'removed', ...removed, at })]);
    await elsewhere.forget({ ...removed, store, at });
  }

  /** What has become known until then is found from then on, also if the rest cannot be had. */
  async #adding<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const { library } = this.#parts;
    try {
      return await work();
    } finally {
      await library?.flush();
      if (!signal.aborted) await library?.tidy(signal);
    }
  }

  /** The other stations, by what is known of them without asking the store. */
  async stations(): Promise<OtherStation[]> {
    return otherStationsOf(await this.#state.heard(), this.#parts.clock.date());
  }

  /**
   * Says to all stations that nobody will mend these segments of a station's journal; with none, that this was taken back.
   * @throws EspdError `store-...`
   */
  async sayGone(
    bucket: Bucket,
    { station, segments, keepsBackups }: Pick<Statement, 'station' | 'segments' | 'keepsBackups'>,
    signal: AbortSignal,
  ): Promise<void> {
    const { clock, version } = this.#parts;
    const by = { by: bucket.layout.station, createdBy: `espd ${version}`, at: clock.date().toISOString() };
    await sayGone(bucket, { formatVersion: 1, station, segments, keepsBackups, ...by }, signal);
  }

  /** What is known of the others without asking the store. Never rejects. */
  async freshness(): Promise<Freshness> {
    return freshnessOf(await this.#state.heard(), this.#parts.clock.date());
  }
}
