/** Where an attached board differs from a backup, by digests of the chip: no flash is read out, and none is written. */

import type { Archive, Backup, ImageReader } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../flash.ts';
import { inOrder } from './digest-plan.ts';
import { differingRegions, imageDigest } from './flash-compare.ts';
import { type Session, whileHeld } from './session.ts';

export interface DeviceDifference {
  /** Of the board's flash. */
  readonly flashBytes: number;
  /** The backup that the whole flash equals by its digest: the one compared with, or another of this board; else null. */
  readonly equals: Backup | null;
  /** What differs in the part that both have, in order; empty where {@link equals} says it all. */
  readonly regions: readonly Region[];
  /** Regions are whole sectors; whole blocks where so many differ that asking for sectors would take long. */
  readonly unitBytes: typeof SECTOR_BYTES | typeof BLOCK_BYTES;
  readonly digestsAsked: number;
}

/** Up to so many blocks that differ, 2 MiB, their sectors are asked for: at most 31 digests a block, some seconds. */
const MAX_BLOCKS_BY_SECTOR = 32;
/** Answers carry no checksum: one that says "different" counts if it comes twice. */
const ROUNDS = 3;

/**
 * @param backup of this board, to compare with
 * @param image of that backup
 * @throws EspdError of the board; `digest-mismatch` where its digests contradict each other; what `image` throws
 */
export async function compareDevice(
  session: Session,
  archive: Archive,
  backup: Backup,
  image: Pick<ImageReader, 'read'>,
): Promise<DeviceDifference> {
  const { board, options } = session;
  const { sizeBytes: flashBytes } = await board.openFlash();
  const question = new Question(session, backup, image);
  const found = (equals: Backup | null, regions: readonly Region[], unitBytes: DeviceDifference['unitBytes']) => {
    return { flashBytes, equals, regions, unitBytes, digestsAsked: question.asked };
  };
  options.onProgress?.({ phase: 'comparing', doneBytes: 0, totalBytes: flashBytes });
  const whole = { offset: 0, sizeBytes: flashBytes };
  const isSameSize = flashBytes === backup.manifest.image.sizeBytes;
  const md5 = await question.ask(whole, isSameSize ? backup.manifest.image.md5 : undefined);
  if (isSameSize && md5 === backup.manifest.image.md5) return found(backup, [], SECTOR_BYTES);
  const history = await whileHeld(session, archive.history(board.identity.mac));
  const other = history.backups.findLast(({ manifest }) => manifest.image.md5 === md5);
  if (other !== undefined) return found(other, [], SECTOR_BYTES);

  const common = { offset: 0, sizeBytes: Math.min(flashBytes, backup.manifest.image.sizeBytes) };
  for (let round = 1; round <= ROUNDS; round++) {
    const blocks = inOrder(await question.differingBlocks(common));
    const count = blocks.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / BLOCK_BYTES), 0);
    if (count > MAX_BLOCKS_BY_SECTOR) return found(null, blocks, BLOCK_BYTES);
    const sectors: Region[] = [];
    for (const run of blocks) sectors.push(...(await question.differingSectors(run)));
    if (sectors.length > 0 || !isSameSize) return found(null, inOrder(sectors), SECTOR_BYTES);
    // Every part is as in the backup, so the digest of the whole was changed on the way, or one of a part.
    question.forget();
  }
  throw new EspdError('digest-mismatch', 'The digest of the flash contradicts those of its parts', {
    hint: 'The line changes bytes: try another cable or a lower serial.baudRate in the config',
  });
}

class Question {
  asked = 0;
  readonly #session: Session;
  readonly #backup: Backup;
  readonly #image: Pick<ImageReader, 'read'>;
  readonly #answers = new Map<string, string>();

  constructor(session: Session, backup: Backup, image: Pick<ImageReader, 'read'>) {
    this.#session = session;
    this.#backup = backup;
    this.#image = { read: (offset, length) => whileHeld(session, image.read(offset, length)) };
  }

  forget(): void {
    this.#answers.clear();
  }

  /** Single blocks that differ, found by halves. */
  async differingBlocks(region: Region, isKnownToDiffer = false): Promise<Region[]> {
    const count = Math.ceil(region.sizeBytes / BLOCK_BYTES);
    if (!(isKnownToDiffer && count > 1) && (await this.#isSame(region))) return [];
    if (count <= 1) return [region];
    const half = Math.floor(count / 2) * BLOCK_BYTES;
    const lower = await this.differingBlocks({ offset: region.offset, sizeBytes: half });
    // Where the lower half is the same, the upper one is where it differs.
    const rest = { offset: region.offset + half, sizeBytes: region.sizeBytes - half };
    return [...lower, ...(await this.differingBlocks(rest, lower.length === 0))];
  }

  async differingSectors(run: Region): Promise<Region[]> {
    const ask = async (region: Region) => this.ask(region, await this.#expected(region));
    return differingRegions(run, this.#image, ask, this.#session.board.costs);
  }

  /** @param expected what ends the asking at once: undefined = nothing is expected */
  async ask(region: Region, expected: string | undefined): Promise<string> {
    const key = `${region.offset}/${region.sizeBytes}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    let answer = await this.#digest(region);
    for (let round = 1; answer !== expected; round++) {
      const again = await this.#digest(region);
      if (again === answer) break;
      answer = again;
      if (round === ROUNDS) {
        throw new EspdError('digest-mismatch', 'The chip gives another digest each time it is asked', {
          hint: 'The line changes bytes: try another cable or a lower serial.baudRate in the config',
        });
      }
    }
    this.#answers.set(key, answer);
    return answer;
  }

  async #isSame(region: Region): Promise<boolean> {
    const expected = await this.#expected(region);
    return (await this.ask(region, expected)) === expected;
  }

  async #expected(region: Region): Promise<string> {
    const { image, blocks } = this.#backup.manifest;
    if (region.offset === 0 && region.sizeBytes === image.sizeBytes) return image.md5;
    const isBlock = region.sizeBytes === BLOCK_BYTES && region.offset % BLOCK_BYTES === 0;
    const known = isBlock ? blocks.md5[region.offset / BLOCK_BYTES] : undefined;
    return known ?? (await imageDigest(this.#image, region));
  }

  async #digest({ offset, sizeBytes }: Region): Promise<string> {
    this.#session.options.signal.throwIfAborted();
    this.asked++;
    return this.#session.board.digest(offset, sizeBytes);
  }
}
