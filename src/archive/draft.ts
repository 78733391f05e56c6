/** A backup in the making, and the one moment in which it becomes visible. The order of steps is FORMAT.md's. */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, unlessAborted } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { formatChecksums } from './checksums.ts';
import { deflate } from './compression.ts';
import type { Compression, Packing } from './compression.ts';
import { sha256Of } from './digest.ts';
import type { ImageDigests } from './digest.ts';
import { readChunks, readFully, writeAll } from './disk.ts';
import { isDiskFull, toWriteError } from './disk-faults.ts';
import type { Disk } from './disk.ts';
import { CHECKSUMS, MANIFEST, verifyFolder } from './folder.ts';
import type { Finding } from './folder.ts';
import { type SpaceAsker, reserveSpace } from './free-space.ts';
import { fromFailure } from './hash-stored.ts';
import type { ImageHasher } from './hasher.ts';
import { GZIP_IMAGE, PLAIN_IMAGE, ZSTD_IMAGE, checkRange } from './image.ts';
import { clearLeftovers } from './leftovers.ts';
import { formatManifest } from './manifest.ts';
import { REMOVALS, readEvents } from './marks/events.ts';
import type { ManifestContent } from './manifest.ts';
import { chooseId, completeManifest } from './new-manifest.ts';
import type { ImageSharer } from './share-image.ts';
import type { StoredImage } from './new-manifest.ts';
import { draftName, partialName } from './owner.ts';
import type { Owner } from './owner.ts';
import { isUnreadable } from './problems.ts';
import { openLeftover, removePartials, tidyPartials } from './partials.ts';
import type { Leftover } from './partials.ts';
import type { Backup, Draft } from './types.ts';

export interface DraftMaker {
  readonly root: string;
  readonly disk: Disk;
  readonly hasher: ImageHasher;
  readonly log: Logger;
  readonly clock: Clock;
  readonly owner: Owner;
  readonly compression: Compression;
  readonly minFreeBytes: SpaceAsker['minFreeBytes'];
  /** Null: no image shares blocks with another. */
  readonly sharer: ImageSharer | null;
  readonly createdBy: string;
  readonly inTurn: SpaceAsker['inTurn'];
  /** Told of a backup that has become visible; never rejects. */
  onCommitted(backup: Backup): Promise<void>;
}

/**
 * Makes the board's folder where needed, clears it of dead drafts, opens what they left, and makes a draft: all 0x00
 * until written. Nothing is fsynced before the commit: a board waits for this.
 */
export async function createDraft(maker: DraftMaker, mac: Mac, sizeBytes: number): Promise<Draft> {
  const { disk, root } = maker;
  const boardFolder = join(root, macToFolder(mac));
  const made = await disk.makeFolderUnsynced(boardFolder);
  const madeBoardFolder = made.includes(root);
  // Another process may have made the folder just now, and not have come to its fsync.
  const unsynced = madeBoardFolder ? made : [...made, root];
  const path = join(boardFolder, draftName(maker.owner));
  let handle: FileHandle | undefined;
  let leftover: Leftover | null = null;
  try {
    const made = await disk.makeFolderUnsynced(path);
    if (made.length === 0) throw Object.assign(new Error(`${path} is there`), { code: 'EEXIST' });
    await clearLeftovers(maker, boardFolder, (await disk.fs.lstat(path)).mtimeMs, sizeBytes);
    leftover = await openLeftover(maker, boardFolder, mac, sizeBytes);
    handle = await disk.createFile(join(path, PLAIN_IMAGE));
    const applicant = { path, image: handle };
    try {
      await reserveSpace(maker, applicant, sizeBytes);
    } catch (error) {
      if (leftover === null || !hasCode(error, 'disk-full')) throw error;
      await leftover.close();
      leftover = null;
      await removePartials(maker, boardFolder);
      await reserveSpace(maker, applicant, sizeBytes);
    }
    return new FileDraft(maker, { mac, sizeBytes, boardFolder, madeBoardFolder, unsynced, path, handle, leftover });
  } catch (error) {
    await handle?.close().catch(() => undefined);
    await leftover?.close();
    await removeDraft(maker, path, madeBoardFolder ? boardFolder : undefined);
    throw error;
  }
}

interface DraftPlace {
  readonly mac: Mac;
  readonly sizeBytes: number;
  readonly boardFolder: string;
  /** Whether this draft brought the board's folder into being, which then should not outlive it empty. */
  readonly madeBoardFolder: boolean;
  /** Folders to be fsynced, so that the board's own is on the disk. */
  readonly unsynced: readonly string[];
  readonly path: string;
  readonly handle: FileHandle;
  readonly leftover: Leftover | null;
}

class FileDraft implements Draft {
  readonly mac: Mac;
  readonly sizeBytes: number;
  readonly imagePath: string;
  readonly leftover: Leftover | null;
  readonly #maker: DraftMaker;
  readonly #place: DraftPlace;
  /** Digests of the content as of the last write; forgotten by the next one. */
  #digests: Promise<ImageDigests> | undefined;
  /** Stops the hashing when the draft ends. */
  readonly #hashing = new AbortController();
  #committing: Promise<unknown> | undefined;
  #ending: Promise<void> | undefined;
  #gaveWay: Promise<boolean> | undefined;
  #isWritten = false;

  constructor(maker: DraftMaker, place: DraftPlace) {
    this.#maker = maker;
    this.#place = place;
    this.mac = place.mac;
    this.sizeBytes = place.sizeBytes;
    this.imagePath = join(place.path, PLAIN_IMAGE);
    this.leftover = place.leftover;
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    checkRange(offset, bytes.length, this.sizeBytes);
    await this.#use(async () => {
      this.#digests = undefined;
      this.#isWritten ||= bytes.length > 0;
      await this.#withRoom(() => writeAll(this.#place.handle, bytes, offset));
      this.#digests = undefined; // those begun meanwhile have seen neither the old nor the new content
    });
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.sizeBytes);
    return this.#use(async () => {
      const bytes = Buffer.alloc(length);
      const got = await readFully(this.#place.handle, bytes, offset);
      if (got < length) throw this.#disturbed(`${PLAIN_IMAGE} was cut off`);
      return bytes;
    });
  }

  async digests(signal?: AbortSignal): Promise<{ md5: string; sha256: string; blocksMd5: readonly string[] }> {
    const { md5, sha256, blocks } = await this.#use(() => unlessAborted(this.#allDigests(), signal));
    return { md5, sha256, blocksMd5: blocks.md5 };
  }

  async commit(content: ManifestContent): Promise<Backup> {
    this.#checkOpen();
    const work = this.#commit(content);
    this.#committing = work.catch(() => undefined);
    try {
      return await work;
    } catch (error) {
      throw toWriteError(error, this.#maker.root);
    } finally {
      await this.#end('remove'); // after the rename nothing is left under the draft's name
    }
  }

  async setAside(): Promise<void> {
    await this.#committing;
    await this.#end(this.#isWritten ? 'keep' : 'remove');
  }

  async discard(): Promise<void> {
    // Removing a folder file by file while it is being renamed would publish half of it.
    await this.#committing;
    await this.#end('remove');
  }

  async #commit(content: ManifestContent): Promise<Backup> {
    const startedMs = this.#maker.clock.now();
    const digests = await this.#allDigests();
    this.#checkContent(content, digests);
    for (const folder of this.#place.unsynced) await this.#maker.disk.syncFolder(folder);
    const image = await this.#storeImage(content);
    const backup = await this.#publish(content, digests, image);
    await this.leftover?.close(); // an open file that is removed stays for a while on network file systems
    // An image out of a file is no later reading of the board: what an interrupted one has left stays of use.
    if (content.reason !== 'imported') await removePartials(this.#maker, this.#place.boardFolder);
    await this.#maker.onCommitted(backup);
    const tookMs = Math.round(this.#maker.clock.now() - startedMs);
    this.#maker.log.debug('backup committed', { mac: backup.mac, id: backup.id, tookMs });
    return backup;
  }

  /** Runs `work` on the open draft. A disk that is full or cannot be written ends the draft and frees its space. */
  async #use<T>(work: () => Promise<T>): Promise<T> {
    this.#checkOpen();
    try {
      return await work();
    } catch (error) {
      const meaning = toWriteError(error, this.#maker.root);
      if (meaning !== error) await this.discard();
      throw meaning;
    }
  }

  #checkOpen(): void {
    if (this.#ending !== undefined || this.#committing !== undefined) {
      throw new EspdError('internal', 'A draft was used after its end');
    }
  }

  /** Never rejects; the first one to call it decides. */
  #end(fate: 'keep' | 'remove'): Promise<void> {
    this.#ending ??= this.#finish(fate);
    return this.#ending;
  }

  async #finish(fate: 'keep' | 'remove'): Promise<void> {
    const { handle, path, boardFolder, madeBoardFolder } = this.#place;
    const { disk, log } = this.#maker;
    this.#hashing.abort();
    await this.#digests?.catch(() => undefined);
    await handle.close().catch(() => undefined);
    await this.leftover?.close();
    try {
      if (fate === 'keep') {
        await disk.fs.rename(path, join(boardFolder, partialName()));
        await tidyPartials(this.#maker, boardFolder, this.sizeBytes);
        return;
      }
    } catch (error) {
      log.warn('what was read cannot be kept for the next backup', { path, error: String(error) });
    }
    await removeDraft(this.#maker, path, madeBoardFolder ? boardFolder : undefined);
  }

  /** Runs `work` again when the disk is full, but an interrupted backup of the board can make room. */
  async #withRoom<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#gaveWay ??= (async () => {
        await this.leftover?.close();
        return removePartials(this.#maker, this.#place.boardFolder);
      })();
      if (!(await this.#gaveWay)) throw error;
      return work();
    }
  }

  #allDigests(): Promise<ImageDigests> {
    this.#digests ??= this.#hash();
    return this.#digests;
  }

  async #hash(): Promise<ImageDigests> {
    const { sizeBytes } = this;
    const options = { sizeBytes, maxBytes: null, signal: this.#hashing.signal };
    const { image } = await this.#maker.hasher.hash(this.#place.handle, options);
    if ('failure' in image) throw fromFailure(image.failure);
    return image;
  }

  #checkContent(content: ManifestContent, { md5, sizeBytes }: ImageDigests): void {
    if (sizeBytes !== this.sizeBytes) throw this.#disturbed(`${PLAIN_IMAGE} has another size than before`);
    if (content.mac !== this.mac) throw new EspdError('internal', `A draft of ${this.mac} with data of ${content.mac}`);
    if (content.confirmed === null || content.confirmed.md5 === md5) return;
    const message = `The chip has MD5 ${content.confirmed.md5} and the image read from it ${md5}`;
    throw new EspdError('digest-mismatch', message, { hint: 'Nothing was kept; try again, with a lower baud rate' });
  }

  /** Leaves the image in the draft's folder as it will be stored, fsynced and closed. */
  async #storeImage({ reason }: ManifestContent): Promise<StoredImage> {
    const { handle, mac, path } = this.#place;
    const { compression, sharer } = this.#maker;
    if (compression === 'none') {
      const digests = await this.#allDigests();
      // A board is held while its snapshot is kept; and what one bad sector takes must not be both of the copies.
      const mayShare = reason !== 'before-restore';
      const draft = { mac, path, handle, digests, signal: this.#hashing.signal };
      if (!mayShare || (await sharer?.share(this.#maker, draft)) !== true) await handle.sync();
      await handle.close(); // waits for writes still under way, so that verification sees the last of them
      return { file: PLAIN_IMAGE, sha256: (await this.#allDigests()).sha256 };
    }
    const file = compression === 'gzip' ? GZIP_IMAGE : ZSTD_IMAGE;
    const sha256 = await this.#withRoom(() => this.#compress(compression, file));
    await handle.close();
    await this.#maker.disk.fs.unlink(this.imagePath);
    return { file, sha256 };
  }

  /** The SHA-256 of the file that it writes, fsynced. */
  async #compress(packing: Packing, name: string): Promise<string> {
    const { handle, path } = this.#place;
    const { disk } = this.#maker;
    const file = join(path, name);
    await disk.fs.rm(file, { force: true }); // of a try that found the disk full
    const target = await disk.createFile(file);
    try {
      let position = 0;
      const sha256 = await deflate(packing, readChunks(handle), async (chunk) => {
        await writeAll(target, chunk, position);
        position += chunk.length;
      });
      await target.sync();
      return sha256;
    } finally {
      await target.close();
    }
  }

  async #publish(content: ManifestContent, digests: ImageDigests, image: StoredImage): Promise<Backup> {
    const { disk, createdBy, log } = this.#maker;
    const { boardFolder, path, mac } = this.#place;
    for (;;) {
      const id = chooseId(await disk.fs.readdir(boardFolder), content, await this.#spentIds(content));
      const manifest = completeManifest({ content, digests, image, createdBy, id });
      const text = formatManifest(manifest);
      const checksums = new Map([
        [image.file, image.sha256],
        [MANIFEST, sha256Of(text)],
      ]);
      await this.#withRoom(async () => {
        await disk.writeFile(join(path, MANIFEST), text);
        await disk.writeFile(join(path, CHECKSUMS), formatChecksums(checksums));
        await disk.syncFolder(path);
      });

      // The reading side judges it before anybody can see it: whatever it would find later is found now.
      const verified = await verifyFolder(this.#maker, path, { mac, id });
      const finding = verified?.findings[0];
      if (finding !== undefined) throw this.#unproven(finding);

      const target = join(boardFolder, id);
      if (await disk.renameToNew(path, target)) {
        await disk.syncFolder(boardFolder);
        return { mac, id, path: target, manifest };
      }
      log.info('another process took the backup id first; taking the next one', { mac, id });
    }
  }

  /** Only an id in the past can be one that a removed backup had. */
  async #spentIds({ reason }: ManifestContent): Promise<string[]> {
    if (reason !== 'imported') return [];
    const removals = await readEvents(this.#maker.disk, this.#place.boardFolder, REMOVALS);
    return removals.events.map(({ id }) => id);
  }

  #unproven({ file, problem, code, hint }: Finding): EspdError {
    if (!isUnreadable({ code })) return this.#disturbed(`${file} ${problem}`);
    return new EspdError(code, `The draft of ${this.mac} could not be read back: ${file} ${problem}`, {
      hint: `Nothing was kept. ${hint}`,
    });
  }

  #disturbed(what: string): EspdError {
    return new EspdError('archive-damaged', `Something changed the draft of ${this.mac}: ${what}`, {
      hint: 'Another program writes into the archive, or memory or disk are faulty. Nothing was kept',
    });
  }
}

/** Never rejects: what stays behind is cleared by a later `begin`. */
async function removeDraft(maker: DraftMaker, path: string, emptyFolder: string | undefined): Promise<void> {
  try {
    await maker.disk.fs.rm(path, { recursive: true, force: true });
  } catch (error) {
    maker.log.warn('a draft could not be removed', { path, error: String(error) });
  }
  // Fails, as it should, when anything else is in there by now.
  if (emptyFolder !== undefined) await maker.disk.fs.rmdir(emptyFolder).catch(() => undefined);
}
