/**
 * Brings every complete backup of the archive into the bucket, sooner or later, says in the journal what this station did,
 * and hears what the others did. What waits is no list that could be lost: it is what the archive has and what is not noted
 * as done. So a kill costs nothing but a look.
 */

import type { Archive } from '../archive/types.ts';
import { type Clock, sleep } from '../clock.ts';
import { type EspdError, toEspdError } from '../errors.ts';
import { type Freshness, NOTHING_HEARD } from './journal/freshness.ts';
import type { Journal } from './journal/journal.ts';
import type { News, Trouble } from './journal/news.ts';
import type { Scan } from './journal/scan.ts';
import type { Fleet } from './open.ts';
import { type Bucket, type Pushed, pushBackup } from './push-backup.ts';
import { Refusals, isRefusal } from './refusals.ts';
import { doneName } from './state.ts';
import { type Waiting, findUnpushed } from './unpushed.ts';

const FIRST_RETRY_MS = 15_000;
const MAX_RETRY_MS = 15 * 60_000;
/** After a comparison, and after one that failed. */
const SCAN_ASKED_MS = 3_600_000;

export interface ReplicatorParts {
  readonly archive: Archive;
  readonly fleet: Fleet;
  readonly journal: Journal;
  /** Archive and journals are looked at so often: commands and other stations add backups as well. */
  readonly lookMs: number;
  /** All that lies in the store is compared so often with what should be there; null = never. */
  readonly scanMs: number | null;
  readonly clock: Clock;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly onPushed: (backup: Waiting, pushed: Pushed, waiting: number) => void;
  /** `backup` is null where the store is the matter. Told once until something has changed. */
  readonly onFailed: (backup: Waiting | null, error: EspdError, waiting: number) => void;
  /** Other stations have said something that was not known here. */
  readonly onNews: (news: News) => void;
  /** It was compared. */
  readonly onScanned: (scan: Scan) => void;
  /** Told once until something has changed. */
  readonly onTrouble: (trouble: Trouble) => void;
}

/** One time through all that waits. */
interface Pass {
  readonly refusals: Refusals;
  /** Set aside until the next one. */
  readonly later: Waiting[];
  /** Of those what is told when others have gone well, or none is left: else the store is the matter. */
  readonly untold: [Waiting, EspdError][];
}

/** One backup, and the note that it is done. */
export async function pushOne(
  archive: Archive,
  fleet: Fleet,
  bucket: Bucket,
  { mac, id }: Waiting,
  signal: AbortSignal,
): Promise<Pushed> {
  const backup = await archive.resolveBackup(mac, id);
  const pushed = await pushBackup(bucket, backup, signal);
  await fleet.state.addDone({ mac, id, place: pushed.place });
  return pushed;
}

export class Replicator {
  readonly #parts: ReplicatorParts;
  readonly #stop = new AbortController();
  #waiting: Waiting[] = [];
  /** What went wrong with single ones, and is told; with why. */
  readonly #failed = new Map<string, string>();
  /** Those that the store has refused come last the next time, so that they keep no others from it; the last one last. */
  readonly #refused = new Set<string>();
  #outage: string | undefined;
  /** Of {@link Clock.now}: at once, at the start. */
  #lookAtMs = Number.NEGATIVE_INFINITY;
  readonly #told = new Set<string>();
  #freshness: Freshness = NOTHING_HEARD;
  #isFirstLook = true;
  /** Of {@link Clock.now}: before that nobody asks whether it is time to compare. */
  #scanAtMs = Number.NEGATIVE_INFINITY;
  #wake = new AbortController();
  #working: Promise<void> | undefined;

  constructor(parts: ReplicatorParts) {
    this.#parts = parts;
  }

  /** Backups that are not in the bucket yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** What is known of the other stations, as of the last look. */
  get freshness(): Freshness {
    return this.#freshness;
  }

  start(): void {
    this.#working ??= this.#work().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#parts.onFailed(null, toEspdError(error), this.waiting);
    });
  }

  /** A backup was made just now. Never waits. */
  add(backup: Waiting): void {
    if (this.#waiting.some((each) => doneName(each) === doneName(backup))) return;
    this.#waiting.push(backup);
    this.#wake.abort();
  }

  /** Ends what is under way; it goes on at the next start. Never rejects. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#working;
  }

  #isStopped(): boolean {
    return this.#stop.signal.aborted;
  }

  async #work(): Promise<void> {
    const { archive, fleet, onFailed } = this.#parts;
    const { signal } = this.#stop;
    let retryMs = 0;
    this.#freshness = await this.#parts.journal.freshness();
    while (!this.#isStopped()) {
      // What is added from here on ends the rest.
      this.#wake = new AbortController();
      try {
        this.#waiting = this.#inOrder((await findUnpushed(archive, fleet)).waiting);
        let isSoonAgain = false;
        if (this.#waiting.length > 0 || this.#isLookDue()) {
          const bucket = await fleet.open(signal);
          isSoonAgain = await this.#pushAll(bucket);
          await this.#say(bucket);
          await this.#hear(bucket);
          // What was missing there waits now.
          if (await this.#compare(bucket)) continue;
        }
        this.#outage = undefined;
        retryMs = isSoonAgain ? longer(retryMs) : 0;
        const untilLookMs = Math.max(0, this.#lookAtMs - this.#parts.clock.now());
        await this.#rest(isSoonAgain ? Math.min(untilLookMs, this.#spread(retryMs)) : untilLookMs, true);
      } catch (error) {
        if (this.#isStopped()) return;
        const fault = toEspdError(error);
        if (this.#outage !== fault.code) onFailed(null, fault, this.waiting);
        this.#outage = fault.code;
        // The next try asks the store anew: one that asks nothing would take it for mended.
        this.#lookAtMs = Number.NEGATIVE_INFINITY;
        retryMs = longer(retryMs);
        await this.#rest(this.#spread(retryMs), false);
      }
    }
  }

  #inOrder(waiting: readonly Waiting[]): Waiting[] {
    const names = new Set(waiting.map(doneName));
    for (const name of this.#refused) if (!names.has(name)) this.#refused.delete(name);
    const refused = new Map(Array.from(this.#refused, (name, index) => [name, index]));
    const rank = (backup: Waiting) => refused.get(doneName(backup)) ?? -1;
    return [...waiting].sort((a, b) => rank(a) - rank(b));
  }

  /** @returns whether the store has refused some, which may go well soon */
  async #pushAll(bucket: Bucket): Promise<boolean> {
    const pass: Pass = { refusals: new Refusals(), later: [], untold: [] };
    let isRefused = false;
    try {
      while (this.#waiting.length > 0) {
        // Two thousand backups of a new station are on their way for hours.
        if (this.#isLookDue()) {
          await this.#say(bucket);
          await this.#hear(bucket);
        }
        const next = this.#waiting.shift();
        if (next === undefined) break;
        try {
          await this.#push(bucket, next, pass);
        } catch (error) {
          this.#setAside(next, error, pass);
          isRefused ||= isRefusal(error);
        }
      }
      this.#tellRefused(pass);
    } finally {
      this.#waiting.push(...pass.later);
    }
    return isRefused;
  }

  async #push(bucket: Bucket, next: Waiting, pass: Pass): Promise<void> {
    const { archive, fleet, onPushed } = this.#parts;
    const pushed = await pushOne(archive, fleet, bucket, next, this.#stop.signal);
    this.#failed.delete(doneName(next));
    this.#refused.delete(doneName(next));
    this.#outage = undefined;
    pass.refusals.served();
    this.#tellRefused(pass);
    onPushed(next, pushed, this.#waiting.length + pass.later.length);
  }

  /** @throws what ends the pass, since those behind it would fail as well */
  #setAside(next: Waiting, error: unknown, pass: Pass): void {
    const fault = toEspdError(error);
    // Removed meanwhile: there is nothing to be done.
    if (['archive-unknown-backup', 'archive-unknown-board'].includes(fault.code)) return;
    const isRefused = isRefusal(fault);
    if (isRefused) {
      this.#refused.delete(doneName(next));
      this.#refused.add(doneName(next));
    }
    if (this.#isStopped() || !pass.refusals.isOfOne(fault)) {
      this.#waiting.unshift(next);
      throw fault;
    }
    pass.later.push(next);
    if (isRefused) pass.untold.push([next, fault]);
    else this.#tellFailed(next, fault, pass);
  }

  /** By now it is not the store that is the matter. */
  #tellRefused(pass: Pass): void {
    for (const [backup, fault] of pass.untold.splice(0)) this.#tellFailed(backup, fault, pass);
  }

  #tellFailed(backup: Waiting, fault: EspdError, { later }: Pass): void {
    const name = doneName(backup);
    if (this.#failed.get(name) !== fault.code) this.#parts.onFailed(backup, fault, this.#waiting.length + later.length);
    this.#failed.set(name, fault.code);
  }

  #isLookDue(): boolean {
    return this.#parts.clock.now() >= this.#lookAtMs;
  }

  async #say(bucket: Bucket): Promise<void> {
    await this.#apart('say', () => this.#parts.journal.write(bucket, this.#stop.signal));
  }

  async #hear(bucket: Bucket): Promise<void> {
    if (!this.#isLookDue()) return;
    const { journal, clock, lookMs, random, onNews, onTrouble } = this.#parts;
    // Not all stations at the same moment, however they were started.
    this.#lookAtMs = clock.now() + lookMs * (0.75 + random() / 2);
    await this.#apart('hear', async () => {
      const news = await journal.look(bucket, { signal: this.#stop.signal, isThorough: this.#isFirstLook });
      this.#isFirstLook = false;
      this.#freshness = await journal.freshness();
      if (news.isMore) this.#lookAtMs = clock.now();
      if (news.macs.length > 0) onNews(news);
      const troubles = new Map(news.troubles.map((trouble) => [`${trouble.station} ${trouble.code}`, trouble]));
      for (const [key, trouble] of troubles) if (!this.#told.has(key)) onTrouble(trouble);
      this.#told.clear();
      for (const key of troubles.keys()) this.#told.add(key);
    });
  }

  /** @returns whether something of this station was missing */
  async #compare(bucket: Bucket): Promise<boolean> {
    const { journal, clock, random, scanMs, onScanned } = this.#parts;
    if (scanMs === null || clock.now() < this.#scanAtMs) return false;
    const sinceMs = Math.abs(clock.date().getTime() - Date.parse((await journal.scannedAt()) ?? ''));
    // Not all stations at the same moment; after a clock that went back at once.
    if (sinceMs < scanMs * (0.75 + random() / 4)) {
      this.#scanAtMs = clock.now() + Math.min(scanMs / 4, SCAN_ASKED_MS);
      return false;
    }
    this.#scanAtMs = clock.now() + SCAN_ASKED_MS;
    let isOwnLost = false;
    await this.#apart('compare', async () => {
      const scan = await journal.scan(bucket, { signal: this.#stop.signal });
      isOwnLost = scan.lost.some(({ isOwn }) => isOwn);
      onScanned(scan);
    });
    return isOwnLost;
  }

  /** What this machine is the matter of, a full disk perhaps, keeps no backup from the store. */
  async #apart(what: 'say' | 'hear' | 'compare', work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
      this.#failed.delete(what);
    } catch (error) {
      const fault = toEspdError(error);
      if (this.#isStopped() || fault.code.startsWith('store-')) throw error;
      if (this.#failed.get(what) !== fault.code) this.#parts.onFailed(null, fault, this.waiting);
      this.#failed.set(what, fault.code);
    }
  }

  /** Not all stations of a store that is back at the same moment. */
  #spread(retryMs: number): number {
    return retryMs * (0.5 + this.#parts.random() / 2);
  }

  /** @param endsEarly by a new backup */
  async #rest(ms: number, endsEarly: boolean): Promise<void> {
    const { signal } = this.#stop;
    const either = endsEarly ? AbortSignal.any([signal, this.#wake.signal]) : signal;
    await sleep(this.#parts.clock, ms, either).catch(() => undefined);
  }
}

function longer(retryMs: number): number {
  return Math.min(MAX_RETRY_MS, retryMs === 0 ? FIRST_RETRY_MS : retryMs * 2);
}
