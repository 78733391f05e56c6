/** A backup of one board: what must be read is read, the chip confirms the whole, and only then is it kept. */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import type { Archive, Backup, BoardHistory, Candidates, Draft } from '../archive/types.ts';
import type { Board, FlashFacts } from '../esp/board.ts';
import { EspdError, hasCode } from '../errors.ts';
import { Budget } from './asking.ts';
import { type TransferReport, manifestOf } from './backup-manifest.ts';
import { type DigestPlan, type ExplainedRegion, planByDigests, scattered } from './digest-plan.ts';
import { BLANK, uniformDigest } from './digests.ts';
import { differingRegions } from './flash-compare.ts';
import { type Explanation, KnownContent } from './known-content.ts';
import { Phases } from './phases.ts';
import type { Session } from './session.ts';

export interface BackupOptions {
  readonly archive: Archive;
  /** Every byte crosses the wire: digests explain nothing. */
  readonly full: boolean;
  /** MD5 of the whole flash, which the chip has given in this session; else it is asked for where that pays. */
  readonly flashMd5?: string;
}

export interface BackupOutcome {
  readonly backup: Backup;
  /** The board equals `backup`, which was there before: nothing was added but a sighting. */
  readonly unchanged: boolean;
  readonly transfer: TransferReport;
}

/** How often regions that the chip does not confirm are read again: an app cannot run meanwhile, so once is rare. */
const CONFIRM_ROUNDS = 3;
/** A digest of the whole flash is asked for where the budget allows of that many times its size. */
const WHOLE_AND_MORE = 1.25;
const NOTHING_ASKED: DigestPlan<Explanation> = { explained: [], unexplained: [] };

/**
 * Backs up the board of `session`.
 *
 * What an attempt that breaks off has read is left for the next one; it proves nothing, and is used where a digest of
 * the chip says that the flash still holds it.
 * @throws EspdError of reading, of the archive, or `digest-mismatch` when the chip does not confirm the image
 */
export async function backupBoard(session: Session, options: BackupOptions): Promise<BackupOutcome> {
  const flash = await session.board.openFlash();
  const history = await options.archive.history(session.board.identity.mac);
  return new BackupJob(session, options.archive, flash, history).run(options);
}

class BackupJob {
  readonly #session: Session;
  readonly #board: Board;
  readonly #archive: Archive;
  readonly #flash: FlashFacts;
  readonly #history: BoardHistory;
  readonly #budget: Budget;
  readonly #phases: Phases;
  /** The newest backup of this board that can be read, when the flash had the same size then. */
  readonly #base: Backup | undefined;
  /** Whether nothing newer than the base lies there damaged. */
  readonly #baseIsLatest: boolean;
  #baseIsSound: Promise<boolean> | undefined;
  /** Digests of single blocks that were asked before there was a plan. */
  readonly #probed = new Map<number, string>();
  #plan = NOTHING_ASKED;
  #flashBytesRead = 0;
  #digestsAsked = 0;
  #doneBytes = 0;

  constructor(session: Session, archive: Archive, flash: FlashFacts, history: BoardHistory) {
    this.#session = session;
    this.#board = session.board;
    this.#archive = archive;
    this.#flash = flash;
    this.#history = history;
    this.#budget = new Budget(session.board.costs, flash.sizeBytes);
    this.#phases = new Phases(session.options.clock, session.startedAtMs);
    const latest = history.backups.at(-1);
    this.#base = latest?.manifest.flash.sizeBytes === flash.sizeBytes ? latest : undefined;
    this.#baseIsLatest = !history.problems.some(({ id }) => id !== null && id > (latest?.id ?? ''));
  }

  async run({ full, flashMd5 }: BackupOptions): Promise<BackupOutcome> {
    this.#phases.begin('comparing');
    if (!full) await this.#measureDigests();
    const md5 = full ? undefined : (flashMd5 ?? (await this.#wholeDigest()));
    const known = md5 === undefined ? undefined : await this.#keptAlready(md5);
    if (known !== undefined) {
      await this.#board.checkIdentity();
      return this.#seenUnchanged(known);
    }
    const draft = await this.#archive.begin(this.#board.identity.mac, this.#flash.sizeBytes);
    try {
      return await this.#fillAndKeep(draft, full);
    } catch (error) {
      // Bytes of another board, or of a flash that reads differently each time, are of no use to anybody.
      if (hasCode(error, 'chip-changed', 'digest-mismatch')) await draft.discard();
      else await draft.setAside();
      throw error;
    }
  }

  async #fillAndKeep(draft: Draft, full: boolean): Promise<BackupOutcome> {
    await this.#fill(draft, full);
    const md5 = await this.#confirm(draft);
    // Read in full, or put together from regions that were all known: the same image needs no second copy.
    await this.#board.checkIdentity();
    const known = await this.#keptAlready(md5);
    const digests = await draft.digests();
    if (known !== undefined && known.manifest.image.sha256 === digests.sha256) {
      await draft.discard();
      return await this.#seenUnchanged(known);
    }
    const aliasedAtBytes = aliasOf(digests.blocksMd5);
    if (aliasedAtBytes !== null) this.#reportAlias(aliasedAtBytes);
    const efuses = await this.#board.readEfuses();
    const content = await manifestOf({
      session: this.#session,
      draft,
      md5,
      flash: { ...this.#flash, aliasedAtBytes },
      efuses,
      transfer: this.#report(),
    });
    return { backup: await draft.commit(content), unchanged: false, transfer: this.#report() };
  }

  /** Of a chip that nobody has asked yet the slowest is believed: a small flash could then afford nothing at all. */
  async #measureDigests(): Promise<void> {
    if (this.#budget.affords(BLOCK_BYTES) || !this.#budget.affords(SECTOR_BYTES)) return;
    await this.#digest({ offset: 0, sizeBytes: SECTOR_BYTES });
    this.#budget.asked(SECTOR_BYTES);
  }

  /** Of the whole flash, where it may well be that of the last backup; else undefined. */
  async #wholeDigest(): Promise<string | undefined> {
    if (this.#base === undefined || !(await this.#maySeemUnchanged(this.#base))) return undefined;
    const digest = await this.#digest({ offset: 0, sizeBytes: this.#flash.sizeBytes });
    this.#budget.asked(this.#flash.sizeBytes);
    return digest;
  }

  /**
   * Whether a digest of the whole flash is worth asking for, which a slow chip takes its time for: not when it would
   * take more than the budget allows, unless single blocks show that the board is most likely as before.
   */
  async #maySeemUnchanged(base: Backup): Promise<boolean> {
    const { md5 } = base.manifest.blocks;
    for (const block of scattered(md5.length)) {
      // Should it have changed all the same, something must be left to look for where.
      if (this.#budget.affords(this.#flash.sizeBytes * WHOLE_AND_MORE)) return true;
      if (!this.#budget.affords(BLOCK_BYTES)) return false;
      const region = { offset: block * BLOCK_BYTES, sizeBytes: BLOCK_BYTES };
      const digest = await this.#digest(region);
      this.#budget.asked(BLOCK_BYTES);
      this.#probed.set(block, digest);
      if (digest !== md5[block]) return false;
      this.#budget.explained(region, true);
    }
    return true;
  }

  /**
   * The board's newest backup, when it holds the image with this MD5: then it needs no second copy. It does need one
   * when the files of that backup have been damaged since, for the board may be its only other copy.
   */
  async #keptAlready(md5: string): Promise<Backup | undefined> {
    const base = this.#base;
    if (base === undefined || !this.#baseIsLatest || base.manifest.image.md5 !== md5) return undefined;
    this.#baseIsSound ??= this.#verify(base);
    return (await this.#baseIsSound) ? base : undefined;
  }

  async #verify({ mac, id }: Backup): Promise<boolean> {
    const { log, signal } = this.#session.options;
    try {
      const [damage] = await this.#archive.verifyBackup(mac, id, signal);
      if (damage === undefined) return true;
      log.warn('The last backup is not proven to be sound: keeping another copy', {
        mac,
        id,
        reason: damage.error.message,
      });
      return false;
    } catch (error) {
      if (hasCode(error, 'archive-unknown-backup')) return false; // pruned meanwhile
      throw error;
    }
  }

  async #digest({ offset, sizeBytes }: Region): Promise<string> {
    this.#session.options.signal.throwIfAborted();
    this.#digestsAsked++;
    this.#session.options.onProgress?.({ phase: 'comparing', doneBytes: offset, totalBytes: this.#flash.sizeBytes });
    return this.#board.digest(offset, sizeBytes);
  }

  /** Fills the draft: known regions from what they are known by, the rest over the wire. */
  async #fill(draft: Draft, full: boolean): Promise<void> {
    if (full) {
      await this.#read(draft, [{ offset: 0, sizeBytes: this.#flash.sizeBytes }]);
      return;
    }
    const { signal, log } = this.#session.options;
    const candidates = await this.#archive.candidates(this.#board.identity.mac, { history: this.#history, signal });
    try {
      this.#plan = await this.#planReading(draft, candidates);
    } finally {
      await candidates.close();
    }
    const { explained, unexplained } = this.#plan;
    log.debug('plan', { toRead: bytesIn(unexplained), regions: unexplained.length, ...explainedBytes(explained) });
    this.#doneBytes = bytesIn(explained);
    await this.#read(draft, unexplained);
  }

  async #planReading(draft: Draft, { list }: Candidates): Promise<DigestPlan<Explanation>> {
    const [newest, ...others] = list;
    const leftover = draft.leftover === null ? [] : [draft.leftover];
    const known = new KnownContent(
      newest?.kind === 'newest' ? [newest, ...leftover, ...others] : [...leftover, ...list],
    );
    await known.prepare(this.#flash.sizeBytes);
    return planByDigests<Explanation>(
      this.#flash.sizeBytes,
      {
        ask: (region) => this.#digest(region),
        explain: (region, digest) => known.explain(region, digest, (offset, bytes) => draft.write(offset, bytes)),
        evidence: (block) => known.evidence(block),
      },
      { costs: this.#board.costs, budget: this.#budget, probed: this.#probed },
    );
  }

  async #read(draft: Draft, regions: readonly Region[]): Promise<void> {
    const { onProgress, signal } = this.#session.options;
    const wasIn = this.#phases.begin('reading');
    this.#board.expect(bytesIn(regions));
    for (const region of regions) {
      await this.#board.read(region.offset, region.sizeBytes, async (offset, bytes) => {
        signal.throwIfAborted();
        await draft.write(offset, bytes);
        this.#flashBytesRead += bytes.length;
        const doneBytes = Math.min(this.#flash.sizeBytes, (this.#doneBytes += bytes.length));
        onProgress?.({ phase: 'reading', doneBytes, totalBytes: this.#flash.sizeBytes });
      });
    }
    this.#phases.begin(wasIn);
  }

  /**
   * Makes the chip confirm the whole image by a digest of its own; regions that differ are read again.
   * @returns the MD5 of both
   */
  async #confirm(draft: Draft): Promise<string> {
    const { onProgress, log } = this.#session.options;
    const { sizeBytes } = this.#flash;
    this.#phases.begin('verifying');
    for (let round = 1; ; round++) {
      onProgress?.({ phase: 'verifying', doneBytes: 0, totalBytes: sizeBytes });
      const [ours, theirs] = await bothDone(draft.digests(), this.#digest({ offset: 0, sizeBytes }));
      if (ours.md5 === theirs) return theirs;
      if (round === CONFIRM_ROUNDS) break;
      log.warn('The chip does not confirm the image; comparing by region', { round, ours: ours.md5, theirs });
      const ask = (region: Region) => this.#digest(region);
      await this.#read(draft, await differingRegions({ offset: 0, sizeBytes }, draft, ask, this.#board.costs));
    }
    throw new EspdError(
      'digest-mismatch',
      'The chip does not confirm the image: its flash reads differently each time',
      {
        hint: 'The flash or its power supply may be failing; no backup was kept',
      },
    );
  }

  async #seenUnchanged(base: Backup): Promise<BackupOutcome> {
    const { port, options } = this.#session;
    const at = options.clock.date().toISOString();
    await this.#archive.recordSighting(base.mac, { id: base.id, at, port: port.address });
    return { backup: base, unchanged: true, transfer: this.#report() };
  }

  #reportAlias(aliasedAtBytes: number): void {
    this.#session.options.log.warn('The flash repeats itself: it is smaller than it says', {
      mac: this.#board.identity.mac,
      sizeBytes: this.#flash.sizeBytes,
      aliasedAtBytes,
    });
  }

  #report(): TransferReport {
    const board = this.#board;
    return {
      loader: board.loaderKind,
      flashBytesRead: this.#flashBytesRead,
      digestsAsked: this.#digestsAsked,
      explained: explainedBytes(this.#plan.explained),
      plan: planOf(this.#plan),
      retries: board.retries,
      recovery: board.recovery,
      baudRate: board.baudRate,
      phases: this.#phases.seconds(),
    };
  }
}

/** What the regions of a plan come from, in order. */
function planOf({ explained, unexplained }: DigestPlan<Explanation>): TransferReport['plan'] {
  const read = unexplained.map((region) => ({ ...region, by: 'read' as const }));
  return [...explained, ...read].sort((one, other) => one.offset - other.offset);
}

function explainedBytes(regions: readonly ExplainedRegion<Explanation>[]): TransferReport['explained'] {
  const of = (by: Explanation) => bytesIn(regions.filter((region) => region.by === by));
  return {
    blank: of('blank'),
    zero: of('zero'),
    sameAsBackup: of('sameAsBackup'),
    olderBackup: of('olderBackup'),
    leftover: of('leftover'),
    fleet: of('fleet'),
  };
}

function bytesIn(regions: readonly Region[]): number {
  return regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** A flash smaller than it claims answers the same again behind its real end: its halves are equal and not blank. */
export function aliasOf(blocksMd5: readonly string[]): number | null {
  const blank = uniformDigest(BLANK, BLOCK_BYTES);
  let alias: number | null = null;
  for (let half = blocksMd5.length / 2; Number.isInteger(half) && half >= 1; half /= 2) {
    const lower = blocksMd5.slice(0, half);
    const repeats = lower.every((digest, index) => digest === blocksMd5[half + index]);
    if (!repeats || lower.every((digest) => digest === blank)) break;
    alias = half * BLOCK_BYTES;
  }
  return alias;
}

/** Both at once; when one fails the other is awaited all the same, so that nothing goes on behind the caller's back. */
async function bothDone<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return Promise.all([one, other]);
}
