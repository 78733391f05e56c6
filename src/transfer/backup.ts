/** A backup of one board: what must be read is read, the chip confirms the whole, and only then is it kept. */

import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import type { ManifestContent } from '../archive/manifest.ts';
import type { Archive, Backup, BoardHistory, Draft } from '../archive/types.ts';
import { EspdError, hasCode } from '../errors.ts';
import { describeFirmware } from '../firmware/index.ts';
import type { Board, FlashFacts } from '../esp/board.ts';
import { type DigestPlan, type Region, blankDigest, digestLevels, planByDigests } from './digest-plan.ts';
import type { Session } from './session.ts';

export interface BackupOptions {
  readonly archive: Archive;
  /** Every byte crosses the wire: digests explain nothing. */
  readonly full: boolean;
}

export interface BackupOutcome {
  readonly backup: Backup;
  /** The board equals `backup`, which was there before: nothing was added but a sighting. */
  readonly unchanged: boolean;
  readonly transfer: TransferCounts;
}

export interface TransferCounts {
  readonly flashBytesRead: number;
  readonly digestsAsked: number;
  readonly retries: number;
  readonly baudRate: number;
  readonly loader: 'stub' | 'rom';
}

/** Blocks of this size are filled at a time. */
const FILL_BYTES = 1024 * 1024;
/** How often regions that the chip does not confirm are read again: an app cannot run meanwhile, so once is rare. */
const CONFIRM_ROUNDS = 3;
const SECTOR_BYTES = 4096;
const BLOCK_BYTES = 65536;

/**
 * Backs up the board of `session`.
 *
 * @throws EspdError of reading, of the archive, or `digest-mismatch` when the chip does not confirm the image
 */
export async function backupBoard(session: Session, options: BackupOptions): Promise<BackupOutcome> {
  const flash = await session.board.openFlash();
  const history = await options.archive.history(session.board.identity.mac);
  return new BackupJob(session, options.archive, flash, history).run(options.full);
}

class BackupJob {
  readonly #session: Session;
  readonly #board: Board;
  readonly #archive: Archive;
  readonly #flash: FlashFacts;
  /** The newest backup of this board that can be read, when the flash had the same size then. */
  readonly #base: Backup | undefined;
  /** Whether nothing newer than the base lies there damaged. */
  readonly #baseIsLatest: boolean;
  #baseIsSound: Promise<boolean> | undefined;
  #flashBytesRead = 0;
  #digestsAsked = 0;
  #doneBytes = 0;

  constructor(session: Session, archive: Archive, flash: FlashFacts, history: BoardHistory) {
    this.#session = session;
    this.#board = session.board;
    this.#archive = archive;
    this.#flash = flash;
    const latest = history.backups.at(-1);
    this.#base = latest?.manifest.flash.sizeBytes === flash.sizeBytes ? latest : undefined;
    this.#baseIsLatest = !history.problems.some(({ id }) => id !== null && id > (latest?.id ?? ''));
  }

  async run(full: boolean): Promise<BackupOutcome> {
    const { sizeBytes } = this.#flash;
    if (!full && this.#base !== undefined) {
      const known = await this.#keptAlready(await this.#digest(0, sizeBytes));
      if (known !== undefined) {
        await this.#board.checkIdentity();
        return this.#seenUnchanged(known);
      }
    }
    const draft = await this.#archive.begin(this.#board.identity.mac, sizeBytes);
    try {
      const plan = await this.#fill(draft, full);
      const md5 = await this.#confirm(draft);
      // Read in full, or put together from regions that were all known: the same image needs no second copy.
      await this.#board.checkIdentity();
      const known = await this.#keptAlready(md5);
      if (known !== undefined && known.manifest.image.sha256 === (await draft.digests()).sha256) {
        await draft.discard();
        return await this.#seenUnchanged(known);
      }
      if (plan.aliasedAtBytes !== null) this.#reportAlias(plan.aliasedAtBytes);
      const backup = await draft.commit(await this.#manifest(draft, md5, plan));
      return { backup, unchanged: false, transfer: this.#counts() };
    } catch (error) {
      await draft.discard();
      throw error;
    }
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
      log.warn('The last backup is damaged: keeping another copy', { mac, id, reason: damage.error.message });
      return false;
    } catch (error) {
      if (hasCode(error, 'archive-unknown-backup')) return false; // pruned meanwhile
      throw error;
    }
  }

  async #digest(offset: number, sizeBytes: number): Promise<string> {
    this.#session.options.signal.throwIfAborted();
    this.#digestsAsked++;
    this.#session.options.onProgress?.({ phase: 'comparing', doneBytes: offset, totalBytes: this.#flash.sizeBytes });
    return this.#board.digest(offset, sizeBytes);
  }

  /** Fills the draft: known regions from what they are known by, the rest over the wire. */
  async #fill(draft: Draft, full: boolean): Promise<DigestPlan> {
    const { sizeBytes } = this.#flash;
    if (full) {
      const everything = { offset: 0, sizeBytes };
      await this.#read(draft, [everything]);
      return { explained: [], unexplained: [everything], digestsAsked: 0, aliasedAtBytes: await aliasOf(draft) };
    }
    const base = await this.#openBase();
    try {
      // Sectors are worth asking for only where most of them are expected to be as before.
      const levels = digestLevels(sizeBytes, base === undefined ? BLOCK_BYTES : SECTOR_BYTES);
      const plan = await planByDigests(sizeBytes, levels, {
        ask: (offset, size) => this.#digest(offset, size),
        explain: async (region, digest) => {
          const bytes = await base?.read(region);
          if (bytes !== undefined && md5Of(bytes) === digest) {
            await draft.write(region.offset, bytes);
            return 'same';
          }
          if (digest !== blankDigest(region.sizeBytes)) return null;
          await fillBlank(draft, region);
          return 'blank';
        },
      });
      this.#doneBytes = plan.explained.reduce((sum, region) => sum + region.sizeBytes, 0);
      await this.#read(draft, plan.unexplained);
      return plan;
    } finally {
      await base?.close();
    }
  }

  /** The image of the last backup, as far as it can be read: its damage must not stop the next backup. */
  async #openBase(): Promise<
    { read(region: Region): Promise<Buffer | undefined>; close(): Promise<void> } | undefined
  > {
    const base = this.#base;
    if (base === undefined) return undefined;
    const unreadable = (error: unknown) => {
      if (!hasCode(error, 'archive-damaged', 'archive-unreadable', 'disk-full')) throw error;
      const reason = error.message;
      this.#session.options.log.warn('The last backup cannot be read', { mac: base.mac, id: base.id, reason });
      return undefined;
    };
    const image = await this.#archive.openImage(base).catch(unreadable);
    if (image === undefined) return undefined;
    return {
      read: ({ offset, sizeBytes }) => image.read(offset, sizeBytes).catch(unreadable),
      close: () => image.close(),
    };
  }

  async #read(draft: Draft, regions: readonly Region[]): Promise<void> {
    const { onProgress, signal } = this.#session.options;
    for (const region of regions) {
      await this.#board.read(region.offset, region.sizeBytes, async (offset, bytes) => {
        signal.throwIfAborted();
        await draft.write(offset, bytes);
        this.#flashBytesRead += bytes.length;
        const doneBytes = Math.min(this.#flash.sizeBytes, (this.#doneBytes += bytes.length));
        onProgress?.({ phase: 'reading', doneBytes, totalBytes: this.#flash.sizeBytes });
      });
    }
  }

  /**
   * Makes the chip confirm the whole image by a digest of its own; regions that differ are read again.
   * @returns the MD5 of both
   */
  async #confirm(draft: Draft): Promise<string> {
    const { onProgress, log } = this.#session.options;
    const { sizeBytes } = this.#flash;
    for (let round = 1; ; round++) {
      onProgress?.({ phase: 'verifying', doneBytes: 0, totalBytes: sizeBytes });
      const [ours, theirs] = [(await draft.digests()).md5, await this.#digest(0, sizeBytes)];
      if (ours === theirs) return ours;
      if (round === CONFIRM_ROUNDS) break;
      log.warn('The chip does not confirm the image; comparing by region', { round, ours, theirs });
      const plan = await planByDigests(sizeBytes, digestLevels(sizeBytes, SECTOR_BYTES), {
        ask: (offset, size) => this.#digest(offset, size),
        explain: async (region, digest) => (digest === (await digestOf(draft, region)) ? 'same' : null),
      });
      await this.#read(draft, plan.unexplained);
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
    return { backup: base, unchanged: true, transfer: this.#counts() };
  }

  #reportAlias(aliasedAtBytes: number): void {
    this.#session.options.log.warn('The flash repeats itself: it is smaller than it says', {
      mac: this.#board.identity.mac,
      sizeBytes: this.#flash.sizeBytes,
      aliasedAtBytes,
    });
  }

  #counts(): TransferCounts {
    return {
      flashBytesRead: this.#flashBytesRead,
      digestsAsked: this.#digestsAsked,
      retries: this.#board.retries,
      baudRate: this.#board.baudRate,
      loader: this.#board.loaderKind,
    };
  }

  async #manifest(draft: Draft, md5: string, plan: DigestPlan): Promise<ManifestContent> {
    const { board, link, options, port, startedAtMs } = this.#session;
    const { identity } = board;
    const efuses = await board.readEfuses();
    const explainedBy = (by: string) =>
      plan.explained.reduce((sum, region) => sum + (region.by === by ? region.sizeBytes : 0), 0);
    const now = options.clock.date().toISOString();
    const { firmware, partitions } = await describeFirmware(
      (offset, length) => draft.read(offset, length),
      this.#flash.sizeBytes,
      identity.family,
    );
    return {
      createdAt: now,
      mac: identity.mac,
      chip: {
        family: identity.family,
        name: identity.chipName,
        revision: identity.revision,
        features: [...identity.features],
        crystalMHz: identity.crystalMHz,
      },
      flash: { ...this.#flash, aliasedAtBytes: plan.aliasedAtBytes },
      security: identity.security,
      efuses: Object.fromEntries(Object.entries(efuses).map(([name, content]) => [name, [...content]])),
      contents: { firmware, partitions },
      confirmed: { by: board.loaderKind, md5, at: now },
      source: { port: port.address, usb: port.usb, host: hostname() },
      transfer: {
        loader: board.loaderKind,
        wireBytes: link.bytesRead + link.bytesWritten,
        flashBytesRead: this.#flashBytesRead,
        digestsAsked: this.#digestsAsked,
        explained: { blank: explainedBy('blank'), sameAsBackup: explainedBy('same') },
        retries: board.retries,
        baudRate: board.baudRate,
        seconds: (options.clock.now() - startedAtMs) / 1000,
      },
    };
  }
}

async function fillBlank(draft: Draft, { offset, sizeBytes }: Region): Promise<void> {
  for (let at = 0; at < sizeBytes; at += FILL_BYTES) {
    await draft.write(offset + at, Buffer.alloc(Math.min(FILL_BYTES, sizeBytes - at), 0xff));
  }
}

/** Where the flash repeats itself, told by the bytes: see {@link DigestPlan.aliasedAtBytes}. */
async function aliasOf(draft: Draft): Promise<number | null> {
  const plan = await planByDigests(draft.sizeBytes, digestLevels(draft.sizeBytes, BLOCK_BYTES).slice(0, 1), {
    ask: (offset, sizeBytes) => digestOf(draft, { offset, sizeBytes }),
    explain: () => 'same',
  });
  return plan.aliasedAtBytes;
}

/** MD5 of a region of an image or draft, lower-case hex. Regions of a plan are at most 1 MiB. */
export async function digestOf(
  image: { read(offset: number, length: number): Promise<Buffer> },
  region: Region,
): Promise<string> {
  return md5Of(await image.read(region.offset, region.sizeBytes));
}

function md5Of(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex');
}
