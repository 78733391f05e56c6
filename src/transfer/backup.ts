/**
 * Reads the flash of one board for a backup: what must be read is read, and the chip confirms the whole. The board waits
 * for no disk but where its own next step needs it; what becomes of the bytes is `unkept.ts`.
 */

import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import { type ChipChangeSince, type ChipFacts, chipChangeText } from '../archive/chip-change.ts';
import type { Reason } from '../archive/manifest.ts';
import type { Archive, Backup, Candidate, Candidates, Draft, ImageReader } from '../archive/types.ts';
import { hasCode } from '../errors.ts';
import type { Board, FlashFacts } from '../esp/board.ts';
import { Budget } from './asking.ts';
import { attachedChip, changedSince } from './attached-chip.ts';
import { type TransferReport, sessionFacts } from './backup-manifest.ts';
import { bytesIn, explainedBytes, transferReport } from './transfer-report.ts';
import { confirmImage } from './confirm-image.ts';
import type { DigestPlan } from './digest-plan.ts';
import { aliasOf } from './digests.ts';
import { type BackupElsewhere, Elsewhere, type OtherStations } from './elsewhere.ts';
import { restOf } from './flash-compare.ts';
import { guardHalfRestored } from './half-restored.ts';
import { type Explanation, KnownContent } from './known-content.ts';
import { LastBackup } from './last-backup.ts';
import { type ChangesFound, findFewChanges, withFound } from './few-changes.ts';
import { Phases } from './phases.ts';
import { guardToldSize } from './told-size.ts';
import { type Session, whileHeld } from './session.ts';
import { seemsUnchanged } from './unchanged.ts';
import { type UnkeptBackup, newBackup, sameAs } from './unkept.ts';
import { PatchedImage } from './patched-image.ts';
import { type Readable, copyRegions } from './pieces.ts';
import { planReading } from './reading-plan.ts';

export type { BackupOutcome, UnkeptBackup } from './unkept.ts';

export interface BackupOptions {
  readonly archive: Archive;
  /** Every byte crosses the wire: digests explain nothing. */
  readonly full: boolean;
  /** Why the backup is made, for its manifest. */
  readonly reason: Reason;
  /** Back up a half restored board as it is: see {@link guardHalfRestored}. Default false. */
  readonly allowHalfRestored?: boolean;
  /** MD5 of the whole flash, which the chip has given in this session; else it is asked for where that pays. */
  readonly flashMd5?: string;
  /** An image that the flash equals but for some parts, by digests of the chip in this session. */
  readonly like?: Likeness;
  /** Backups of other stations; absent = there are none. */
  readonly stations?: OtherStations | undefined;
}

export interface Likeness {
  readonly image: Pick<ImageReader, 'sizeBytes' | 'read'>;
  readonly by: 'sameAsBackup' | 'olderBackup' | 'fleet';
  /** Where the flash is otherwise, whole sectors in order. */
  readonly differing: readonly Region[];
}

const NOTHING_ASKED: DigestPlan<Explanation> = { explained: [], unexplained: [] };

/**
 * Reads the board of `session` until the chip has confirmed an image of its whole flash, which is then to be kept: see
 * {@link UnkeptBackup.keep}, after {@link withBoard} has released the board.
 *
 * What an attempt that breaks off has read is left for the next one; it proves nothing, and is used where a digest of
 * the chip says that the flash still holds it.
 * @throws EspdError of reading, of the archive, `half-restored`, see {@link guardToldSize}, or `digest-mismatch` when the chip does not confirm the
 *   image
 */
export async function readFlash(session: Session, options: BackupOptions): Promise<UnkeptBackup> {
  const { archive, allowHalfRestored = false } = options;
  const { mac } = session.board.identity;
  // What the archive knows is read while the stub is on its way.
  const [latest, half] = [archive.latest(mac), archive.halfRestored(mac)];
  session.afterwards(latest);
  session.afterwards(half);
  const flash = await session.board.openFlash();
  await guardHalfRestored(session, archive, allowHalfRestored, half);
  await guardToldSize(flash, (offset, sizeBytes) => session.board.digest(offset, sizeBytes));
  const last = new LastBackup(session, archive, await whileHeld(session, latest), flash.sizeBytes);
  return new FlashReading(session, options, flash, last).run();
}

class FlashReading {
  readonly #session: Session;
  readonly #board: Board;
  readonly #archive: Archive;
  readonly #flash: FlashFacts;
  readonly #last: LastBackup;
  readonly #budget: Budget;
  readonly #phases: Phases;
  readonly #options: BackupOptions;
  readonly #elsewhere: Elsewhere | undefined;
  #draft: Promise<Draft> | undefined;
  #candidates: Promise<Candidates> | undefined;
  /** Digests of single blocks that were asked before there was a plan. */
  #probed: ReadonlyMap<number, string> = new Map();
  #plan = NOTHING_ASKED;
  #flashBytesRead = 0;
  #digestsAsked = 0;
  /** Who has hashed the whole flash last; undefined where that was before this backup. */
  #hashedBy: Board['loaderKind'] | undefined;
  #doneBytes = 0;

  constructor(session: Session, options: BackupOptions, flash: FlashFacts, last: LastBackup) {
    this.#session = session;
    this.#board = session.board;
    this.#archive = options.archive;
    this.#options = options;
    this.#flash = flash;
    this.#last = last;
    this.#budget = new Budget(session.board.costs, flash.sizeBytes);
    this.#phases = new Phases(session.options.clock, session.startedAtMs);
    const { stations } = options;
    if (stations !== undefined && !options.full && options.like === undefined) {
      const { clock, log, signal } = session.options;
      const costs = () => session.board.costs;
      const parts = { stations, clock, log, signal, costs, newestHere: last.newestId };
      this.#elsewhere = new Elsewhere(session.board.identity.mac, parts);
    }
  }

  async run(): Promise<UnkeptBackup> {
    const { full, flashMd5, like } = this.#options;
    try {
      this.#phases.begin('comparing');
      // Opened while the chip answers its first questions; not before it is known to be needed, for it takes up room.
      if (like === undefined && (full || this.#last.base === undefined)) void this.#openDraft(full);
      if (!full) await this.#measureDigests();
      const md5 = full ? undefined : (flashMd5 ?? (await this.#wholeDigest()));
      const known = md5 === undefined ? undefined : await this.#last.keptAlready(md5, this.#chip);
      const same = known ?? (md5 === undefined ? undefined : await this.#elsewhere?.bring(md5, this.#chip));
      if (same !== undefined) {
        await this.#board.checkIdentity();
        return this.#sameAs(same, this.#draft && (await whileHeld(this.#session, this.#draft)));
      }
      await this.#board.prepareToMove();
      if (like !== undefined && this.#paysToTake(like)) {
        const draft = await whileHeld(this.#session, this.#openDraft(true));
        await this.#fillLike(draft, like);
        return await this.#confirmAndDescribe(draft, md5);
      }
      const draft = await whileHeld(this.#session, this.#openDraft(full));
      await this.#fill(draft, full, md5);
      return await this.#confirmAndDescribe(draft, md5);
    } catch (error) {
      this.#breakOff(error);
      throw error;
    }
  }

  /** Begins to open what the image is put together in, and from. */
  #openDraft(full: boolean): Promise<Draft> {
    if (this.#draft === undefined) {
      const { mac } = this.#board.identity;
      this.#draft = this.#archive.begin(mac, this.#flash.sizeBytes);
      this.#session.afterwards(this.#draft);
      if (!full) {
        this.#candidates = this.#archive.candidates(mac, { signal: this.#session.options.signal });
        this.#session.afterwards(this.#candidates);
      }
    }
    return this.#draft;
  }

  /** The board does not wait for it: what is at work on the draft may be stuck in the disk. */
  #breakOff(error: unknown): void {
    // Bytes of another board, or of a flash that reads differently each time, are of no use to anybody.
    const isOfNoUse = hasCode(error, 'chip-changed', 'digest-mismatch');
    const ended = this.#draft?.then((draft) => (isOfNoUse ? draft.discard() : draft.setAside()));
    if (ended !== undefined) this.#session.afterwards(ended);
    this.#closeCandidates();
  }

  #closeCandidates(): void {
    const closed = this.#candidates?.then((candidates) => candidates.close());
    if (closed !== undefined) this.#session.afterwards(closed);
    if (this.#elsewhere !== undefined) this.#session.afterwards(this.#elsewhere.close());
  }

  /** @param flashMd5 that the chip has given before: it need not hash the whole again where the draft is that */
  async #confirmAndDescribe(draft: Draft, flashMd5: string | undefined): Promise<UnkeptBackup> {
    const md5 = await this.#confirm(draft, flashMd5);
    // Read in full, or put together from regions that were all known: the same image needs no second copy.
    await this.#board.checkIdentity();
    const known = await this.#last.keptAlready(md5, this.#chip);
    const digests = await whileHeld(this.#session, draft.digests());
    if (known !== undefined && known.manifest.image.sha256 === digests.sha256) return this.#sameAs(known, draft);
    const aliasedAtBytes = aliasOf(digests.blocksMd5);
    if (aliasedAtBytes !== null) this.#reportAlias(aliasedAtBytes);
    const efuses = await this.#board.readEfuses(this.#last.newest?.manifest.efuses);
    const change = changedSince(this.#last.newest, attachedChip(this.#board, this.#flash, efuses));
    if (change !== null) this.#reportChange(change);
    const transfer = this.#report();
    const flash = { ...this.#flash, aliasedAtBytes };
    const { reason } = this.#options;
    const confirmed = { by: this.#hashedBy ?? this.#board.loaderKind, md5 };
    const facts = sessionFacts({ session: this.#session, reason, confirmed, flash, efuses, transfer });
    const { newest, isFirst } = this.#last;
    return newBackup(draft, facts, transfer, { chipChange: change, before: newest ?? null, isFirst });
  }

  /** Of a chip that nobody has asked yet the slowest is believed: a small flash could then afford nothing at all. */
  async #measureDigests(): Promise<void> {
    if (this.#budget.affords(BLOCK_BYTES) || !this.#budget.affords(SECTOR_BYTES)) return;
    await this.#digest({ offset: this.#flash.sizeBytes - SECTOR_BYTES, sizeBytes: SECTOR_BYTES });
    this.#budget.asked(SECTOR_BYTES);
  }

  /** Of the whole flash, where it may well be that of the last backup; else undefined. */
  async #wholeDigest(): Promise<string | undefined> {
    const { sizeBytes } = this.#flash;
    const elsewhere = await this.#elsewhere?.newest();
    const last = elsewhere?.manifest.flash.sizeBytes === sizeBytes ? elsewhere : this.#last.base;
    if (last === undefined || !(await this.#maySeemUnchanged(last))) return undefined;
    this.#last.expectUnchanged();
    const digest = await this.#digest({ offset: 0, sizeBytes: this.#flash.sizeBytes });
    this.#budget.asked(this.#flash.sizeBytes);
    return digest;
  }

  async #maySeemUnchanged(last: BackupElsewhere): Promise<boolean> {
    const isHere = last === this.#last.base;
    const expected = async (region: Region) => (isHere ? this.#last.digestOf(region) : undefined);
    const questions = { ask: (region: Region) => this.#digest(region), expected };
    const { isLikely, probed } = await seemsUnchanged(last.manifest.blocks.md5, this.#budget, questions);
    this.#probed = probed;
    return isLikely;
  }

  async #digest({ offset, sizeBytes }: Region): Promise<string> {
    this.#session.options.signal.throwIfAborted();
    this.#digestsAsked++;
    this.#session.options.onProgress?.({ phase: 'comparing', doneBytes: offset, totalBytes: this.#flash.sizeBytes });
    const digest = await this.#board.digest(offset, sizeBytes);
    if (sizeBytes === this.#flash.sizeBytes) this.#hashedBy = this.#board.loaderKind;
    return digest;
  }

  /**
   * Fills the draft: known regions from what they are known by, the rest over the wire.
   * @param flashMd5 as the chip has given it, if it has
   */
  async #fill(draft: Draft, full: boolean, flashMd5: string | undefined): Promise<void> {
    if (full) {
      await this.#read(draft, [{ offset: 0, sizeBytes: this.#flash.sizeBytes }]);
      return;
    }
    const { list } = this.#candidates === undefined ? { list: [] } : await whileHeld(this.#session, this.#candidates);
    const found = flashMd5 === undefined ? undefined : await this.#findByLast(list[0], flashMd5);
    const plan = await (found?.isProven === true
      ? this.#fillByLast(draft, found.image)
      : this.#planReading(draft, found === undefined ? list : [found.image, ...list.slice(1)]));
    this.#closeCandidates();
    this.#plan = found === undefined ? plan : withFound(plan, found);
    const { explained, unexplained } = plan;
    this.#session.options.log.debug('plan', {
      toRead: bytesIn(unexplained),
      regions: unexplained.length,
      ...explainedBytes(explained),
    });
    await this.#read(draft, unexplained, bytesIn(explained));
  }

  /** Whether reading what differs takes no longer than looking for more that is known. */
  #paysToTake({ image, differing }: Likeness): boolean {
    const { sizeBytes } = this.#flash;
    const { costs } = this.#board;
    return image.sizeBytes === sizeBytes && costs.readMs(bytesIn(differing)) <= costs.digestMs(sizeBytes);
  }

  /** Most often little has changed, and settings before anything else: the last backup with what is new of it. */
  async #findByLast(newest: Candidate | undefined, flashMd5: string): Promise<ChangesFound | undefined> {
    const { base } = this.#last;
    // Who knows an image that the flash is like has looked for changes already.
    if (base === undefined || newest?.id !== base.id || this.#options.like !== undefined) return undefined;
    const { sizeBytes } = this.#flash;
    const image = new PatchedImage(newest, (offset, length) => whileHeld(this.#session, newest.read(offset, length)));
    const found = await findFewChanges({
      ...{ flashMd5, sizeBytes, image, manifest: base.manifest, board: this.#board, budget: this.#budget },
      ask: (region) => this.#digest(region),
      read: (regions) => this.#read(image, regions, sizeBytes - bytesIn(regions)),
    });
    this.#probed = new Map([...this.#probed, ...found.probed]);
    return found;
  }

  /** What the chip has hashed: what is left to be read of it is nothing. */
  async #fillByLast(draft: Draft, image: PatchedImage): Promise<DigestPlan<Explanation>> {
    const whole = { offset: 0, sizeBytes: this.#flash.sizeBytes };
    await this.#copy(image.readable, [whole], draft);
    return { explained: [{ ...whole, by: 'sameAsBackup' }], unexplained: [] };
  }

  async #fillLike(draft: Draft, { image, by, differing }: Likeness): Promise<void> {
    const same = restOf(differing, this.#flash.sizeBytes);
    await this.#copy(image, same, draft);
    this.#plan = { explained: same.map((region) => ({ ...region, by })), unexplained: differing };
    await this.#read(draft, differing, bytesIn(same));
  }

  #copy(image: Readable, regions: readonly Region[], draft: Draft): Promise<void> {
    return copyRegions(image, regions, (offset, bytes) => whileHeld(this.#session, draft.write(offset, bytes)));
  }

  async #planReading(draft: Draft, list: readonly Candidate[]): Promise<DigestPlan<Explanation>> {
    const session = this.#session;
    const [newest, ...others] = await this.#withElsewhere(list);
    const leftover = draft.leftover === null ? [] : [draft.leftover];
    const known = new KnownContent(
      newest?.kind === 'newest'
        ? [newest, ...leftover, ...others]
        : [...leftover, ...(newest ? [newest] : []), ...others],
    );
    await whileHeld(session, known.prepare(this.#flash.sizeBytes));
    return planReading({
      ...{ session, known, sizeBytes: this.#flash.sizeBytes, budget: this.#budget, probed: this.#probed },
      isFirst: this.#last.base === undefined,
      ask: (region) => this.#digest(region),
      asked: () => this.#digestsAsked++,
      write: (offset, bytes) => draft.write(offset, bytes),
    });
  }

  /** Where the archive has nothing of this board, a few digests tell whose image it is like. */
  async #withElsewhere(list: readonly Candidate[]): Promise<readonly Candidate[]> {
    if (this.#elsewhere === undefined) return list;
    const ask = async (block: number): Promise<string | undefined> => {
      const known = this.#probed.get(block);
      if (known !== undefined || !this.#budget.affords(BLOCK_BYTES)) return known;
      const digest = await this.#digest({ offset: block * BLOCK_BYTES, sizeBytes: BLOCK_BYTES });
      this.#budget.asked(BLOCK_BYTES);
      return digest;
    };
    const found = await this.#elsewhere.candidates(list, this.#flash.sizeBytes, ask);
    this.#probed = new Map([...this.#probed, ...found.probed]);
    return found.list;
  }

  /** @param doneBytes of the flash that are there already; left out where it goes on as it was */
  async #read(to: Pick<Draft, 'write'>, regions: readonly Region[], doneBytes = this.#doneBytes): Promise<void> {
    const { onProgress, signal } = this.#session.options;
    const wasIn = this.#phases.begin('reading');
    this.#doneBytes = doneBytes;
    this.#board.expect(bytesIn(regions));
    for (const region of regions) {
      await this.#board.read(region.offset, region.sizeBytes, async (offset, bytes) => {
        signal.throwIfAborted();
        await whileHeld(this.#session, to.write(offset, bytes));
        this.#flashBytesRead += bytes.length;
        const doneBytes = Math.min(this.#flash.sizeBytes, (this.#doneBytes += bytes.length));
        onProgress?.({ phase: 'reading', doneBytes, totalBytes: this.#flash.sizeBytes });
      });
    }
    this.#phases.begin(wasIn);
  }

  /** @returns the MD5 of image and flash */
  #confirm(draft: Draft, flashMd5: string | undefined): Promise<string> {
    this.#phases.begin('verifying');
    const ask = (region: Region) => this.#digest(region);
    const readAgain = (regions: readonly Region[]) => this.#read(draft, regions);
    return confirmImage({ session: this.#session, draft, ask, readAgain }, flashMd5);
  }

  #sameAs(known: Backup, draft: Draft | undefined): UnkeptBackup {
    const { port, options } = this.#session;
    const sighting = { id: known.id, at: options.clock.date().toISOString(), port: port.address };
    return sameAs(known, { archive: this.#archive, sighting, draft }, this.#report());
  }

  /** As far as it is known without asking for more. */
  get #chip(): ChipFacts {
    return attachedChip(this.#board, this.#flash);
  }

  #reportChange(change: ChipChangeSince): void {
    const { mac } = this.#board.identity;
    this.#session.options.log.warn(chipChangeText(change), { mac, since: change.since });
  }

  #reportAlias(aliasedAtBytes: number): void {
    this.#session.options.log.warn('The flash repeats itself: it is smaller than it says', {
      mac: this.#board.identity.mac,
      sizeBytes: this.#flash.sizeBytes,
      aliasedAtBytes,
    });
  }

  #report(): TransferReport {
    const counts = { flashBytesRead: this.#flashBytesRead, digestsAsked: this.#digestsAsked };
    return transferReport(this.#board, counts, this.#plan, this.#phases.seconds());
  }
}
