/** Puts an archived image back: guards first, then only the sectors that differ, then the chip confirms the whole. */

import { createHash } from 'node:crypto';
import type { Archive, Backup, ImageReader } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Board, FlashFacts } from '../esp/board.ts';
import type { BoardIdentity } from '../esp/identity.ts';
import { isLineFault } from '../esp/loader.ts';
import { hexAddress } from '../esp/flash-read.ts';
import type { Mac } from '../mac.ts';
import type { Region } from './digest-plan.ts';
import { differingRegions } from './flash-compare.ts';
import type { Session } from './session.ts';

export interface RestoreOptions {
  readonly archive: Archive;
  readonly backup: Backup;
  /** The MAC that the board must have: the backup's own, or another one that the person has typed in full. */
  readonly targetMac: Mac;
  readonly dryRun: boolean;
  /** Asked once the plan is known and something differs; false = leave the board as it is. */
  readonly confirm?: (plan: RestorePlan) => Promise<boolean>;
}

export interface RestorePlan {
  /** Regions that differ, whole sectors, in order. */
  readonly regions: readonly Region[];
  readonly sectors: number;
  readonly bytes: number;
}

export interface RestoreOutcome {
  readonly plan: RestorePlan;
  readonly sectorsWritten: number;
  /** The chip's digest of the whole flash equals the image's. False only after a dry run with differences. */
  readonly verified: boolean;
  readonly transfer: { readonly digestsAsked: number; readonly retries: number; readonly baudRate: number };
}

const SECTOR_BYTES = 4096;
/** Written and verified at a time: compressed in memory, and what an error costs. */
const WRITE_BYTES = 256 * 1024;
const WRITE_ATTEMPTS = 3;
const COMPARE_ROUNDS = 3;
const HASH_BYTES = 1024 * 1024;

/**
 * Refuses what must not be written, before anything is written.
 * @throws EspdError `other-mac`, `other-chip`, `other-size`, `encrypted`
 */
export function guardRestore(backup: Backup, targetMac: Mac, identity: BoardIdentity, flash: FlashFacts): void {
  const { manifest } = backup;
  guardMac(identity, targetMac, `To put this image on this board on purpose, name the board: --to ${identity.mac}`);
  if (identity.family !== manifest.chip.family) {
    throw new EspdError(
      'other-chip',
      `The board is an ${identity.chipName}, the image is of an ${manifest.chip.name}`,
      {
        hint: 'An image runs only on the kind of chip that it was taken from',
      },
    );
  }
  if (flash.sizeBytes !== manifest.flash.sizeBytes) {
    throw new EspdError(
      'other-size',
      `The image has ${manifest.flash.sizeBytes} bytes, the flash of the board ${flash.sizeBytes}`,
      { hint: 'An image fits only a flash of its own size' },
    );
  }
  guardSecurity(backup, identity);
}

/** @throws EspdError `other-mac` */
export function guardMac(identity: BoardIdentity, wanted: Mac, hint = ''): void {
  if (identity.mac === wanted) return;
  throw new EspdError('other-mac', `The board that answers is ${identity.mac}, not ${wanted}`, { hint });
}

function guardSecurity({ manifest, mac }: Backup, { security, mac: boardMac }: BoardIdentity): void {
  const isProtected = (state: typeof security) => state.flashEncryption || state.secureBoot;
  if (!isProtected(security) && !isProtected(manifest.security)) return;
  const sameState =
    security.flashEncryption === manifest.security.flashEncryption &&
    security.secureBoot === manifest.security.secureBoot;
  // Ciphertext is worth something only on the chip that holds the key, in the state in which it was made.
  if (sameState && mac === boardMac) return;
  throw new EspdError(
    'encrypted',
    sameState
      ? 'The image is bound to its chip by flash encryption or secure boot and runs on no other'
      : 'Flash encryption or secure boot of the board are not as they were when the image was taken',
    { hint: 'Written now, this image would not boot' },
  );
}

/**
 * Restores `options.backup` on the board of `session`.
 *
 * @throws EspdError see {@link guardRestore}; `archive-damaged` before anything is written; `declined`;
 *   `write-mismatch` when the flash does not hold what was written
 */
export async function restoreBoard(session: Session, options: RestoreOptions): Promise<RestoreOutcome> {
  const { board } = session;
  const { archive, backup } = options;
  const flash = await board.openFlash();
  guardRestore(backup, options.targetMac, board.identity, flash);
  const image = await archive.openImage(backup);
  try {
    await checkImage(image, backup, session.options.signal);
    return await new RestoreJob(session, image, backup).run(options);
  } finally {
    await image.close();
  }
}

/** Hashes the very bytes that are about to be written: a flipped bit in the archive must not reach a board. */
async function checkImage(image: ImageReader, { mac, id, manifest }: Backup, signal: AbortSignal): Promise<void> {
  const [sha256, md5] = [createHash('sha256'), createHash('md5')];
  for (let offset = 0; offset < image.sizeBytes; offset += HASH_BYTES) {
    signal.throwIfAborted();
    const bytes = await image.read(offset, Math.min(HASH_BYTES, image.sizeBytes - offset));
    sha256.update(bytes);
    md5.update(bytes);
  }
  if (sha256.digest('hex') === manifest.image.sha256 && md5.digest('hex') === manifest.image.md5) return;
  throw new EspdError('archive-damaged', `The image of backup ${id} of ${mac} is not what its manifest says`, {
    hint: `Nothing was written. "espd verify --mac ${mac}" says more; choose another backup with --at`,
  });
}

class RestoreJob {
  readonly #session: Session;
  readonly #board: Board;
  readonly #image: ImageReader;
  readonly #backup: Backup;
  #digestsAsked = 0;
  #sectorsWritten = 0;

  constructor(session: Session, image: ImageReader, backup: Backup) {
    this.#session = session;
    this.#board = session.board;
    this.#image = image;
    this.#backup = backup;
  }

  async run(options: RestoreOptions): Promise<RestoreOutcome> {
    const plan = await this.#compare();
    if (plan.sectors === 0) return this.#outcome(plan, true);
    if (options.dryRun) return this.#outcome(plan, false);
    if (options.confirm !== undefined && !(await options.confirm(plan))) {
      throw new EspdError('declined', 'Nothing was written', { hint: 'Answer yes, or pass --yes in a script' });
    }
    this.#session.options.signal.throwIfAborted();
    // A person may have taken their time to answer, with other boards at hand.
    await this.#board.checkIdentity();
    try {
      await this.#writeUntilEqual(plan);
    } catch (error) {
      this.#session.options.log.error('The board is half restored: run the same command again to finish it', {
        mac: this.#board.identity.mac,
        id: this.#backup.id,
      });
      throw error;
    }
    return this.#outcome(plan, true);
  }

  async #writeUntilEqual(plan: RestorePlan): Promise<void> {
    let pending = plan;
    for (let attempt = 1; pending.sectors > 0; attempt++) {
      if (attempt > WRITE_ATTEMPTS) throw this.#mismatch(pending);
      if (attempt > 1) {
        this.#session.options.log.warn('Some sectors do not hold what was written; writing them again', {
          sectors: pending.sectors,
          attempt,
        });
      }
      await this.#write(pending, plan.bytes);
      pending = await this.#compare();
    }
  }

  /** Where the flash differs from the image. An empty plan means that the digest of the whole flash is the image's. */
  async #compare(): Promise<RestorePlan> {
    const { sizeBytes } = this.#image;
    for (let round = 1; round <= COMPARE_ROUNDS; round++) {
      this.#session.options.onProgress?.({ phase: 'verifying', doneBytes: 0, totalBytes: sizeBytes });
      if ((await this.#digest(0, sizeBytes)) === this.#backup.manifest.image.md5) return planOf([]);
      const ask = ({ offset, sizeBytes: size }: Region) => this.#digest(offset, size);
      const differing = await differingRegions({ offset: 0, sizeBytes }, this.#image, ask, this.#board.costs);
      if (differing.length > 0) return planOf(differing);
      // Every part is as it should be, so the digest of the whole was changed on the way: answers carry no checksum.
    }
    throw new EspdError('digest-mismatch', 'The digest of the whole flash contradicts those of its parts', {
      hint: 'The line changes bytes: try another cable or a lower serial.baudRate in the config',
    });
  }

  async #digest(offset: number, sizeBytes: number): Promise<string> {
    this.#session.options.signal.throwIfAborted();
    this.#digestsAsked++;
    return this.#board.digest(offset, sizeBytes);
  }

  async #write(plan: RestorePlan, totalBytes: number): Promise<void> {
    const { onProgress, signal } = this.#session.options;
    let doneBytes = 0;
    for (const region of plan.regions) {
      const end = region.offset + region.sizeBytes;
      for (let offset = region.offset; offset < end; offset += WRITE_BYTES) {
        signal.throwIfAborted();
        const length = Math.min(WRITE_BYTES, end - offset);
        await this.#writePiece(offset, await this.#image.read(offset, length));
        this.#sectorsWritten += length / SECTOR_BYTES;
        doneBytes += length;
        onProgress?.({ phase: 'writing', doneBytes, totalBytes });
      }
    }
  }

  /** A line that loses bytes breaks a write off: the board is connected again, and the piece written anew. */
  async #writePiece(offset: number, bytes: Buffer): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#board.write(offset, bytes);
        return;
      } catch (error) {
        if (!isLineFault(error) || attempt === WRITE_ATTEMPTS) throw error;
        this.#session.options.log.warn(`Writing again at ${hexAddress(offset)}`, { attempt, reason: error.message });
        await this.#board.reconnect();
      }
    }
  }

  #mismatch(pending: RestorePlan): EspdError {
    const where = pending.regions
      .slice(0, 4)
      .map((region) => hexAddress(region.offset))
      .join(', ');
    return new EspdError('write-mismatch', `${pending.sectors} sectors do not hold what was written (${where})`, {
      hint: 'The flash of this board may be worn out; its content is not the image',
    });
  }

  #outcome(plan: RestorePlan, verified: boolean): RestoreOutcome {
    return {
      plan,
      sectorsWritten: this.#sectorsWritten,
      verified,
      transfer: {
        digestsAsked: this.#digestsAsked,
        retries: this.#board.retries,
        baudRate: this.#board.baudRate,
      },
    };
  }
}

function planOf(regions: readonly Region[]): RestorePlan {
  const bytes = regions.reduce((sum, region) => sum + region.sizeBytes, 0);
  return { regions, sectors: bytes / SECTOR_BYTES, bytes };
}
