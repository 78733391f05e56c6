/**
 * A backup that lies in the store becomes one that is here, byte for byte what its station made. Blocks that some image
 * here has are not fetched; everything is hashed before it has a name.
 */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { idHere, idsToLookAt, isSameBackup } from '../archive/elsewhere/same-id.ts';
import type { StoredBackup } from '../archive/elsewhere/types.ts';
import type { Archive, Backup, Candidate } from '../archive/types.ts';
import { packingOf } from '../archive/compression.ts';
import { EspdError, hasCode } from '../errors.ts';
import { BLOCK_BYTES } from '../flash.ts';
import { macToFolder } from '../mac.ts';
import { MANIFEST } from './local-backup.ts';
import { type BlockPlan, type Run, type SameBlocks, bytesOf, planBlocks, runsOf } from './local-blocks.ts';
import {
  type ReadableBucket,
  type StoredFolder,
  damagedBackup,
  openStoredFolder,
  unlessGone,
} from './stored-folder.ts';
import { openImageIn, readPacked } from './stored-image.ts';

/** Asked for at once; with as many requests under way, a store far away is kept busy. */
const RUN_BYTES = 2 * 1024 * 1024;
const AT_ONCE = 3;

/** How much of an image is not here yet. */
export interface PullPlan {
  /** Of the flash. */
  readonly sizeBytes: number;
  /** Of it what is fetched: never more, and where the image is compressed less. */
  readonly missingBytes: number;
}

export interface PullOptions {
  readonly signal?: AbortSignal | undefined;
  /** Once, before the first byte of the image is fetched. */
  readonly onPlan?: ((plan: PullPlan) => void) | undefined;
  readonly onProgress?: ((fetchedBytes: number, ofBytes: number) => void) | undefined;
}

export interface Pulled {
  readonly backup: Backup;
  /** Of the image, as it is stored. */
  readonly fetchedBytes: number;
  /** Of the image what came out of this archive, or was blank. */
  readonly reusedBytes: number;
}

/** What {@link pullBackup} would fetch, without asking the store. */
export async function planPull(archive: Archive, stored: StoredBackup, signal?: AbortSignal): Promise<PullPlan> {
  if ((await ifHere(archive, stored)) !== undefined) {
    return { sizeBytes: stored.manifest.image.sizeBytes, missingBytes: 0 };
  }
  return withCandidates(archive, stored, signal, (list) =>
    Promise.resolve(planOf(stored, planBlocks(stored.manifest, list))),
  );
}

/**
 * Where it is here already, nothing is fetched. Where its id means another backup, it gets one of its own ({@link idHere});
 * all else of it stays as its station has made it.
 * @throws EspdError `store-...`; `store-damaged` where what lies there is not what was noted of it, or is damaged;
 *   `archive-...`, `disk-full`: as {@link ArchiveElsewhere.adopt}. Nothing half is left
 */
export async function pullBackup(
  bucket: ReadableBucket,
  archive: Archive,
  stored: StoredBackup,
  options: PullOptions = {},
): Promise<Pulled> {
  const here = await ifHere(archive, stored);
  if (here !== undefined) return { backup: here, fetchedBytes: 0, reusedBytes: 0 };
  return fetchBackup(bucket, archive, stored, options).catch((error: unknown) =>
    unlessGone(bucket, stored, error, options.signal),
  );
}

async function fetchBackup(
  bucket: ReadableBucket,
  archive: Archive,
  stored: StoredBackup,
  options: PullOptions,
): Promise<Pulled> {
  const { signal } = options;
  const folder = await openStoredFolder(bucket, stored, signal);
  const { bytes } = await folder.manifest(signal);
  if (createHash('sha256').update(bytes).digest('hex') !== stored.manifestSha256) {
    throw damagedBackup(stored, `${MANIFEST} is another than its station has told of`);
  }
  const id = idHere(stored, await idsOf(archive, stored), await archive.elsewhere.of(stored.mac));
  const pull = new Pull(archive, stored, folder, { id, manifest: withId(bytes, id, stored.id) }, options);
  try {
    return await withCandidates(archive, stored, signal, (list) => pull.try(list));
  } catch (error) {
    // Each block was right when it was written: whatever it was, once more with nothing but what the store has.
    if (!hasCode(error, 'archive-damaged')) throw error;
  }
  try {
    return await pull.try([]);
  } catch (error) {
    if (!hasCode(error, 'archive-damaged')) throw error;
    throw damagedBackup(stored, error instanceof Error ? error.message : String(error), error);
  }
}

interface OwnName {
  readonly id: string;
  readonly manifest: Buffer;
}

/** The same manifest, keys that this espd does not know included. */
function withId(manifest: Buffer, id: string, before: string): Buffer {
  if (id === before) return manifest;
  const content = JSON.parse(manifest.toString('utf8')) as object;
  return Buffer.from(`${JSON.stringify({ ...content, id }, null, 2)}\n`);
}

class Pull {
  readonly #archive: Archive;
  readonly #stored: StoredBackup;
  readonly #folder: StoredFolder;
  /** As it is to be here. */
  readonly #own: OwnName;
  readonly #options: PullOptions;
  #isPlanTold = false;

  constructor(archive: Archive, stored: StoredBackup, folder: StoredFolder, own: OwnName, options: PullOptions) {
    this.#archive = archive;
    this.#stored = stored;
    this.#folder = folder;
    this.#own = own;
    this.#options = options;
  }

  async try(list: readonly Candidate[]): Promise<Pulled> {
    const { image } = this.#stored.manifest;
    return packingOf(image.file) === null ? this.#tryPlain(list) : this.#tryPacked();
  }

  async #tryPlain(list: readonly Candidate[]): Promise<Pulled> {
    const { signal, onProgress } = this.#options;
    const { sizeBytes } = this.#stored.manifest.image;
    const image = await openImageIn(this.#folder, this.#stored, signal);
    try {
      const plan = planBlocks(this.#stored.manifest, list);
      this.#tellPlan(planOf(this.#stored, plan));
      let fetchedBytes = 0;
      const backup = await this.#adopt(sizeBytes, async (write) => {
        const put = async ({ indexes }: SameBlocks, block: Buffer) => {
          for (const index of indexes) await write(index * BLOCK_BYTES, block);
        };
        const missing = [...plan.missing];
        for (const blocks of plan.here) {
          signal?.throwIfAborted();
          const block = await blocks.read();
          if (block !== undefined && isSound(block, blocks)) await put(blocks, block);
          else missing.push(blocks);
        }
        const runs = runsOf(missing, RUN_BYTES);
        const ofBytes = runs.reduce((sum, { length }) => sum + length, 0);
        onProgress?.(0, ofBytes);
        await allAtMost(AT_ONCE, runs, async ({ offset, length, blocks }: Run) => {
          signal?.throwIfAborted();
          const bytes = await image.read(offset, length);
          let at = 0;
          for (const same of blocks) await put(same, bytes.subarray(at, (at += same.sizeBytes)));
          fetchedBytes += length;
          onProgress?.(fetchedBytes, ofBytes);
        });
      });
      return { backup, fetchedBytes, reusedBytes: sizeBytes - fetchedBytes };
    } finally {
      await image.close();
    }
  }

  /** A compressed image has nothing in common with another one. */
  async #tryPacked(): Promise<Pulled> {
    const { signal, onProgress } = this.#options;
    const { sizeBytes } = this.#stored.manifest.image;
    const object = await this.#folder.openImage(signal);
    this.#tellPlan({ sizeBytes, missingBytes: Math.min(sizeBytes, object.sizeBytes) });
    let read = 0;
    onProgress?.(0, object.sizeBytes);
    const packed = await readPacked(this.#stored, object, this.#folder.imageSha256, {
      signal,
      onRead: (bytes) => onProgress?.(Math.min((read += bytes), object.sizeBytes), object.sizeBytes),
    });
    const backup = await this.#adopt(object.sizeBytes, async (write) => {
      let at = 0;
      for (const piece of packed) {
        await write(at, piece);
        at += piece.length;
      }
    });
    return { backup, fetchedBytes: object.sizeBytes, reusedBytes: 0 };
  }

  #adopt(imageBytes: number, fill: Parameters<Archive['elsewhere']['adopt']>[1]): Promise<Backup> {
    const { mac, manifest } = this.#stored;
    const content = { mac, ...this.#own, imageFile: manifest.image.file, imageBytes };
    return this.#archive.elsewhere.adopt(content, fill, this.#options.signal);
  }

  #tellPlan(plan: PullPlan): void {
    if (!this.#isPlanTold) this.#options.onPlan?.(plan);
    this.#isPlanTold = true;
  }
}

/** What is here already, under its id or that which it got here; another backup of its id is passed over. */
async function ifHere(archive: Archive, stored: StoredBackup): Promise<Backup | undefined> {
  const { mac, id } = stored;
  for (const own of idsToLookAt(id, await idsOf(archive, stored))) {
    try {
      const backup = await archive.resolveBackup(mac, own);
      if (isSameBackup(backup, stored)) return backup;
    } catch (error) {
      if (!(error instanceof EspdError) || error.code !== 'archive-damaged') throw error;
      if (own !== id) continue;
      throw new EspdError('archive-damaged', error.message, {
        hint: `The store has it, too: move the folder ${join(archive.root, macToFolder(mac), id)} out of the archive, and fetch it again`,
        cause: error,
      });
    }
  }
  return undefined;
}

async function idsOf(archive: Archive, { mac }: StoredBackup): Promise<readonly string[]> {
  try {
    return await archive.backupIds(mac);
  } catch (error) {
    if (hasCode(error, 'archive-unknown-board', 'archive-missing')) return [];
    throw error;
  }
}

async function withCandidates<T>(
  archive: Archive,
  { mac }: StoredBackup,
  signal: AbortSignal | undefined,
  work: (list: readonly Candidate[]) => Promise<T>,
): Promise<T> {
  const candidates = await archive.candidates(mac, signal === undefined ? {} : { signal });
  try {
    return await work(candidates.list);
  } finally {
    await candidates.close();
  }
}

function planOf({ manifest }: StoredBackup, { missing }: BlockPlan): PullPlan {
  const { sizeBytes, file } = manifest.image;
  return { sizeBytes, missingBytes: packingOf(file) === null ? bytesOf(missing) : sizeBytes };
}

function isSound(block: Buffer, { sizeBytes, sha256 }: SameBlocks): boolean {
  return block.length === sizeBytes && createHash('sha256').update(block).digest('hex') === sha256;
}

/** The first failure ends it, once all that is under way has ended. */
async function allAtMost<T>(atOnce: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = items.values();
  let hasFailed = false;
  const worker = async () => {
    for (const item of left) {
      if (hasFailed) return;
      try {
        await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const failed = (await Promise.allSettled(Array.from({ length: atOnce }, worker))).find(
    (outcome) => outcome.status === 'rejected',
  );
  if (failed !== undefined) throw failed.reason;
}
