/**
 * What other stations have read of a board, or of boards like it: their backups lie in a store that may be slow, or gone
 * the next moment. The board waits for it only as long as reading its flash would take, and what comes from there is
 * hashed as anything else; then the chip's own digest decides.
 */

import type { ChipFacts } from '../archive/chip-change.ts';
import type { Backup, Candidate, ImageReader } from '../archive/types.ts';
import { isWithin } from '../archive/image.ts';
import { type Clock, unlessAborted } from '../clock.ts';
import type { Costs } from '../esp/costs.ts';
import { BLOCK_BYTES } from '../flash.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import { changedSince } from './attached-chip.ts';
import { scattered } from './digest-plan.ts';
import { UNIFORM_BYTES, uniformDigest } from '../archive/uniform.ts';

/** A backup in the store. */
export type BackupElsewhere = Pick<Backup, 'mac' | 'id' | 'manifest'>;

/** The way to the store; see `replication/other-stations.ts`. */
export interface OtherStations {
  /**
   * The newest backup of a board in the store, if it is newer than all that are here.
   * @param newestHere id of the newest one here; undefined = none is
   */
  newestOf(mac: Mac, newestHere: string | undefined): Promise<BackupElsewhere | undefined>;
  /**
   * Backups of any board that hold the most of these blocks, the likeliest first.
   * @param probes MD5 of blocks of 64 KiB by index
   */
  likely(
    probes: ReadonlyMap<number, string>,
    limit: number,
  ): Promise<readonly { readonly backup: BackupElsewhere; readonly hits: number }[]>;
  /** Its image, read piece by piece out of the store. @throws EspdError `store-...` */
  open(backup: BackupElsewhere, signal: AbortSignal): Promise<ImageReader>;
  /** Makes it a backup that is here, with all its files hashed. @throws EspdError `store-...`, `archive-...` */
  bring(backup: BackupElsewhere, signal: AbortSignal): Promise<Backup>;
}

export interface ElsewhereParts {
  readonly stations: OtherStations;
  /** Id of the board's newest backup here; undefined = there is none. */
  readonly newestHere: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Of the job. */
  readonly signal: AbortSignal;
  /** Asked anew each time: they are measured while the board is at work. */
  readonly costs: () => Costs;
}

/** Single blocks that are asked for to find images that a board is like. */
const MAX_PROBES = 6;
/** Images of other boards that are fetched from. */
const MAX_LIKELY = 2;
/** However fast the line is, a store over a network gets so long to answer once. */
const LEAST_WAIT_MS = 1500;
/** However slow the line is, a board waits no longer for one answer. */
const MOST_WAIT_MS = 30_000;
/** Fetched at once behind what is asked for. */
const AHEAD_BLOCKS = 8;
/** Kept in memory of one image: as much as one digest of the chip may be of. */
const KEPT_BLOCKS = 64;

/** For one job with one board. */
export class Elsewhere {
  readonly #parts: ElsewhereParts;
  readonly #mac: Mac;
  readonly #open: RemoteCandidate[] = [];
  #newest: Promise<BackupElsewhere | undefined> | undefined;

  constructor(mac: Mac, parts: ElsewhereParts) {
    this.#mac = mac;
    this.#parts = parts;
  }

  /** See {@link OtherStations.newestOf}; undefined also where that cannot be told now. */
  newest(): Promise<BackupElsewhere | undefined> {
    this.#newest ??= this.#within('the newest backup of another station', LEAST_WAIT_MS, () =>
      this.#parts.stations.newestOf(this.#mac, this.#parts.newestHere),
    );
    return this.#newest;
  }

  /**
   * The backup of another station that this flash is, made a backup of this archive. Undefined where there is none, or
   * where reading the flash is the surer way.
   * @param md5 of the whole flash, by the chip
   * @param chip whose flash it is: of another chip's backup this one needs its own
   */
  async bring(md5: string, chip: ChipFacts): Promise<Backup | undefined> {
    const newest = await this.newest();
    if (newest === undefined) return undefined;
    const { image, confirmed } = newest.manifest;
    if (image.md5 !== md5 || confirmed === null || changedSince(newest, chip) !== null) return undefined;
    const waitMs = this.#waitMs(image.sizeBytes);
    return this.#within('a backup of another station', waitMs, (signal) => this.#parts.stations.bring(newest, signal));
  }

  /**
   * `list` with images of the store where they are likely to have more of this flash.
   * @param list as the archive gives it
   * @param ask MD5 of the block of this index, by the chip; undefined = one more question does not pay
   * @returns what was asked, too
   */
  async candidates(
    list: readonly Candidate[],
    flashBytes: number,
    ask: (block: number) => Promise<string | undefined>,
  ): Promise<{ readonly list: readonly Candidate[]; readonly probed: ReadonlyMap<number, string> }> {
    const probed = new Map<number, string>();
    const own = list.filter(({ kind }) => kind !== 'fleet');
    const others = list.filter(({ kind }) => kind === 'fleet');
    const newest = await this.newest();
    if (newest !== undefined) return { list: [...own, this.#remote(newest, 'older'), ...others], probed };
    if (own.length > 0) return { list, probed };
    for (const block of scattered(Math.floor(flashBytes / BLOCK_BYTES))) {
      if (probed.size >= MAX_PROBES) break;
      const md5 = await ask(block);
      if (md5 === undefined) break;
      probed.set(block, md5);
    }
    const telling = new Map([...probed].filter(([, md5]) => !isUniform(md5)));
    const here = Math.max(0, ...others.map((candidate) => hitsOf(candidate, telling)));
    if (here === telling.size) return { list, probed };
    const likely = await this.#within('backups like this board', LEAST_WAIT_MS, () =>
      this.#parts.stations.likely(telling, MAX_LIKELY),
    );
    const better = (likely ?? []).filter(({ hits }) => hits > here);
    return { list: [...better.map(({ backup }) => this.#remote(backup, 'fleet')), ...others], probed };
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await Promise.all(this.#open.map((candidate) => candidate.close()));
  }

  #remote(backup: BackupElsewhere, kind: 'older' | 'fleet'): Candidate {
    const candidate = new RemoteCandidate(backup, kind, {
      open: () =>
        this.#within('an image of another station', LEAST_WAIT_MS, (signal) =>
          this.#parts.stations.open(backup, signal),
        ),
      fetch: (image, offset, length) => this.#fetch(image, offset, length),
      isWorth: (bytes, tookMs) => tookMs <= Math.max(this.#parts.costs().readMs(bytes), 1),
      log: this.#parts.log,
    });
    this.#open.push(candidate);
    return candidate;
  }

  #fetch(image: ImageReader, offset: number, length: number): Promise<{ bytes: Buffer; tookMs: number } | undefined> {
    const { clock } = this.#parts;
    const startMs = clock.now();
    return this.#within('a piece of an image of another station', this.#waitMs(length), async () => ({
      bytes: await image.read(offset, length),
      tookMs: clock.now() - startMs,
    }));
  }

  /** As long as reading so much of the board would take, within reason. */
  #waitMs(sizeBytes: number): number {
    return Math.min(MOST_WAIT_MS, Math.max(LEAST_WAIT_MS, this.#parts.costs().readMs(sizeBytes)));
  }

  /** Undefined where it took too long or failed: the board is read then. Rejects only with the reason of the job's signal. */
  async #within<T>(what: string, limitMs: number, work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { clock, log, signal } = this.#parts;
    const limit = new AbortController();
    const cancel = clock.schedule(limitMs, () => limit.abort(new Error(`not within ${Math.round(limitMs)} ms`)));
    const either = AbortSignal.any([signal, limit.signal]);
    try {
      return await unlessAborted(work(either), either);
    } catch (error) {
      signal.throwIfAborted();
      log.info(`The store does not give ${what} in time: it is read from the board`, {
        mac: this.#mac,
        error: String(error),
      });
      return undefined;
    } finally {
      cancel();
    }
  }
}

function isUniform(md5: string): boolean {
  return UNIFORM_BYTES.some((byte) => uniformDigest(byte, BLOCK_BYTES) === md5);
}

function hitsOf(candidate: Candidate, probes: ReadonlyMap<number, string>): number {
  return [...probes].filter(([index, md5]) => candidate.blockMd5(index) === md5).length;
}

interface RemoteParts {
  open(): Promise<ImageReader | undefined>;
  fetch(
    image: ImageReader,
    offset: number,
    length: number,
  ): Promise<{ readonly bytes: Buffer; readonly tookMs: number } | undefined>;
  /** Whether fetching so much in that time is no slower than reading it from the board. */
  isWorth(bytes: number, tookMs: number): boolean;
  readonly log: Logger;
}

/** An image in the store as a candidate: fetched in runs of blocks, the last ones kept. */
class RemoteCandidate implements Candidate {
  readonly kind: 'older' | 'fleet';
  readonly mac: Mac;
  readonly id: string;
  readonly sizeBytes: number;
  readonly #blocksMd5: readonly string[];
  readonly #parts: RemoteParts;
  /** The one used last at the end. */
  readonly #kept = new Map<number, Buffer>();
  #image: Promise<ImageReader | undefined> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #isGivenUp = false;

  constructor({ mac, id, manifest }: BackupElsewhere, kind: 'older' | 'fleet', parts: RemoteParts) {
    this.kind = kind;
    this.mac = mac;
    this.id = id;
    this.sizeBytes = manifest.image.sizeBytes;
    this.#blocksMd5 = manifest.blocks.md5;
    this.#parts = parts;
  }

  blockMd5(index: number, count = 1): string | undefined {
    if (!isWithin(index, count, this.#blocksMd5.length) || count === 0) return undefined;
    return this.#blocksMd5.slice(index, index + count).join('');
  }

  /** One after the other: what the first one has fetched is there for the second. */
  async read(offset: number, length: number): Promise<Buffer | undefined> {
    if (!isWithin(offset, length, this.sizeBytes)) return undefined;
    const read = this.#turn.then(() => this.#read(offset, length));
    this.#turn = read.catch(() => undefined);
    return read;
  }

  async close(): Promise<void> {
    this.#isGivenUp = true;
    this.#kept.clear();
    await this.#image?.then((image) => image?.close()).catch(() => undefined);
  }

  async #read(offset: number, length: number): Promise<Buffer | undefined> {
    const first = Math.floor(offset / BLOCK_BYTES);
    const end = Math.max(first + 1, Math.ceil((offset + length) / BLOCK_BYTES));
    const pieces: Buffer[] = [];
    for (let block = first; block < end; block++) {
      const bytes = this.#uniform(block) ?? this.#kept.get(block) ?? (await this.#fetch(block, end));
      if (bytes === undefined) return undefined;
      pieces.push(bytes);
    }
    const from = offset - first * BLOCK_BYTES;
    const all = pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
    return all.subarray(from, from + length);
  }

  /** What the manifest calls blank needs no fetching. */
  #uniform(block: number): Buffer | undefined {
    const length = this.#lengthOf(block);
    const md5 = this.#blocksMd5[block];
    const byte = UNIFORM_BYTES.find((each) => uniformDigest(each, length) === md5);
    return byte === undefined ? undefined : Buffer.alloc(length, byte);
  }

  #lengthOf(block: number): number {
    return Math.min(BLOCK_BYTES, this.sizeBytes - block * BLOCK_BYTES);
  }

  /** @param end at least the blocks before it are wanted */
  async #fetch(block: number, end: number): Promise<Buffer | undefined> {
    if (this.#isGivenUp) return undefined;
    this.#image ??= this.#parts.open();
    const image = await this.#image;
    let behind = block + 1;
    const most = Math.min(Math.max(end, block + AHEAD_BLOCKS), block + KEPT_BLOCKS, this.#blocksMd5.length);
    while (behind < most && !this.#kept.has(behind) && this.#uniform(behind) === undefined) behind++;
    const offset = block * BLOCK_BYTES;
    const length = Math.min(behind * BLOCK_BYTES, this.sizeBytes) - offset;
    const fetched = image === undefined ? undefined : await this.#parts.fetch(image, offset, length);
    if (fetched === undefined) {
      this.#isGivenUp = true;
      return undefined;
    }
    for (let each = block; each < behind; each++) {
      const at = (each - block) * BLOCK_BYTES;
      this.#kept.set(each, fetched.bytes.subarray(at, at + this.#lengthOf(each)));
    }
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= KEPT_BLOCKS) break;
      this.#kept.delete(oldest);
    }
    // What has come is used; the next is read from the board.
    if (!this.#parts.isWorth(length, fetched.tookMs)) {
      this.#parts.log.info('The store is slower than the board: the rest is read from the board', {
        mac: this.mac,
        id: this.id,
        bytes: length,
        tookMs: Math.round(fetched.tookMs),
      });
      this.#isGivenUp = true;
    }
    return this.#kept.get(block);
  }
}
