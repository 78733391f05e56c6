/** The board's newest backup: what its flash is compared with first, and whether that is still a sound copy of it. */

import type { ChipFacts } from '../archive/chip-change.ts';
import type { Archive, Backup, LatestBackup } from '../archive/types.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Region } from '../flash.ts';
import { changedSince } from './attached-chip.ts';
import { md5OfRegion } from './digests.ts';
import { type Session, whileHeld } from './session.ts';

export class LastBackup {
  /** The newest backup that can be read, when the flash had the same size then. */
  readonly base: Backup | undefined;
  /** The newest backup that can be read, whatever size the flash had. */
  readonly newest: Backup | undefined;
  /** Of everything that the archive has as a backup of this board, sound or not, the last one. */
  readonly newestId: string | undefined;
  /** The archive has nothing of this board. */
  readonly isFirst: boolean;
  readonly #session: Session;
  readonly #archive: Archive;
  /** Whether nothing newer than the base lies there damaged. */
  readonly #isLatest: boolean;
  #check: { readonly isSound: Promise<boolean>; readonly abort: AbortController } | undefined;

  constructor(session: Session, archive: Archive, latest: LatestBackup, flashBytes: number) {
    this.#session = session;
    this.#archive = archive;
    this.newest = latest.backup;
    this.newestId = latest.ids.at(-1);
    this.isFirst = latest.ids.length === 0 && latest.problems.length === 0;
    this.base = latest.backup?.manifest.flash.sizeBytes === flashBytes ? latest.backup : undefined;
    this.#isLatest = latest.problems.length === 0;
  }

  /** MD5 of a region of the base's image, which nobody has verified yet; undefined where it cannot be read. */
  async digestOf({ offset, sizeBytes }: Region): Promise<string | undefined> {
    const { base } = this;
    // A compressed one would have to be inflated as a whole.
    if (base === undefined || base.manifest.image.file !== 'flash.bin') return undefined;
    try {
      return await whileHeld(this.#session, this.#digestOf(base, offset, sizeBytes));
    } catch (error) {
      if (error instanceof EspdError && !this.#session.options.signal.aborted) return undefined;
      throw error;
    }
  }

  async #digestOf(base: Backup, offset: number, sizeBytes: number): Promise<string> {
    const image = await this.#archive.openImage(base);
    try {
      return await md5OfRegion((at, length) => image.read(at, length), offset, sizeBytes);
    } finally {
      await image.close();
    }
  }

  /** The board is most likely as it was: its backup's files are hashed while the chip hashes its flash. */
  expectUnchanged(): void {
    if (this.base !== undefined && this.#isLatest) void this.#checkOf(this.base);
  }

  /**
   * The board's newest backup, when it holds the image with this MD5: then it needs no second copy. It does need one
   * when the files of that backup have been damaged since, for the board may be its only other copy; when they are of
   * another chip, whose history would else go on as that of this one; and when they came out of a file, since nothing but
   * a backup tells what chip that is and what its eFuses hold.
   * @param now the chip that the image is of
   */
  async keptAlready(md5: string, now: ChipFacts): Promise<Backup | undefined> {
    const { base } = this;
    const isSame = base?.manifest.image.md5 === md5 && changedSince(base, now) === null;
    if (base === undefined || base.manifest.confirmed === null || !this.#isLatest || !isSame) {
      this.#check?.abort.abort();
      this.#check = undefined;
      return undefined;
    }
    return (await whileHeld(this.#session, this.#checkOf(base))) ? base : undefined;
  }

  #checkOf(base: Backup): Promise<boolean> {
    if (this.#check === undefined) {
      const abort = new AbortController();
      const signal = AbortSignal.any([this.#session.options.signal, abort.signal]);
      this.#check = { isSound: this.#verify(base, signal), abort };
      this.#session.afterwards(this.#check.isSound);
    }
    return this.#check.isSound;
  }

  async #verify({ mac, id }: Backup, signal: AbortSignal): Promise<boolean> {
    try {
      const [damage] = await this.#archive.verifyBackup(mac, id, signal);
      if (damage === undefined) return true;
      const reason = damage.error.message;
      this.#session.options.log.warn('The last backup is not proven to be sound: keeping another copy', {
        mac,
        id,
        reason,
      });
      return false;
    } catch (error) {
      if (hasCode(error, 'archive-unknown-backup')) return false; // pruned meanwhile
      throw error;
    }
  }
}
