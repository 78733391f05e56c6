/** A backup in the making, and the one moment in which it becomes visible. The order of steps is FORMAT.md's. */

import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import { EspdError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { formatChecksums } from './checksums.ts';
import { ImageDigester, sha256Of } from './digest.ts';
import type { ImageDigests } from './digest.ts';
import { readChunks, readFully, toWriteError, writeAll } from './disk.ts';
import type { Disk } from './disk.ts';
import { CHECKSUMS, MANIFEST, verifyFolder } from './folder.ts';
import { nextId } from './ids.ts';
import { GZIP_IMAGE, PLAIN_IMAGE, checkRange, deflate } from './image.ts';
import { clearLeftovers } from './leftovers.ts';
import { FORMAT_VERSION, formatManifest, manifestSchema } from './manifest.ts';
import type { Manifest, ManifestContent } from './manifest.ts';
import { draftName } from './owner.ts';
import type { Owner } from './owner.ts';
import type { Backup, Draft } from './types.ts';

/** Kept free on the disk beyond the image itself: manifest, folders, and what other programs need to go on. */
export const FREE_SPACE_MARGIN_BYTES = 4 * 1024 * 1024;

export interface DraftMaker {
  readonly root: string;
  readonly disk: Disk;
  readonly log: Logger;
  readonly clock: Clock;
  readonly owner: Owner;
  readonly compression: 'none' | 'gzip';
  readonly createdBy: string;
}

/** Makes the board's folder where needed, clears it of dead drafts, and makes a draft: all 0x00 until written. */
export async function createDraft(maker: DraftMaker, mac: Mac, sizeBytes: number): Promise<Draft> {
  const { disk, root } = maker;
  const boardFolder = join(root, macToFolder(mac));
  const madeBoardFolder = await disk.makeFolder(boardFolder);
  // Another process may have made the folder just now, and not have come to its fsync.
  if (!madeBoardFolder) await disk.syncFolder(root);
  const path = join(boardFolder, draftName(maker.owner));
  let handle: FileHandle | undefined;
  try {
    await disk.makeFolder(path);
    await clearLeftovers(maker, boardFolder, (await disk.fs.lstat(path)).mtimeMs);
    await checkFreeSpace(maker, boardFolder, sizeBytes);
    handle = await disk.createFile(join(path, PLAIN_IMAGE));
    await handle.truncate(sizeBytes);
    return new FileDraft(maker, { mac, sizeBytes, boardFolder, madeBoardFolder, path, handle });
  } catch (error) {
    await handle?.close().catch(() => undefined);
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
  readonly path: string;
  readonly handle: FileHandle;
}

class FileDraft implements Draft {
  readonly mac: Mac;
  readonly sizeBytes: number;
  readonly imagePath: string;
  readonly #maker: DraftMaker;
  readonly #place: DraftPlace;
  /** Digests of the content as of the last write; forgotten by the next one. */
  #digests: Promise<ImageDigests> | undefined;
  #committing: Promise<unknown> | undefined;
  #ended = false;

  constructor(maker: DraftMaker, place: DraftPlace) {
    this.#maker = maker;
    this.#place = place;
    this.mac = place.mac;
    this.sizeBytes = place.sizeBytes;
    this.imagePath = join(place.path, PLAIN_IMAGE);
  }

  async write(offset: number, bytes: Uint8Array): Promise<void> {
    checkRange(offset, bytes.length, this.sizeBytes);
    await this.#use(async () => {
      this.#digests = undefined;
      await writeAll(this.#place.handle, bytes, offset);
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

  async digests(): Promise<{ md5: string; sha256: string }> {
    const { md5, sha256 } = await this.#use(() => this.#allDigests());
    return { md5, sha256 };
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
      await this.#end(); // after the rename nothing is left under the draft's name
    }
  }

  async discard(): Promise<void> {
    // Removing a folder file by file while it is being renamed would publish half of it.
    await this.#committing;
    await this.#end();
  }

  async #commit(content: ManifestContent): Promise<Backup> {
    const startedMs = this.#maker.clock.now();
    const digests = await this.#allDigests();
    this.#checkContent(content, digests);
    const image = await this.#storeImage();
    const backup = await this.#publish(content, digests, image);
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
    if (this.#ended || this.#committing !== undefined) {
      throw new EspdError('internal', 'A draft was used after its end');
    }
  }

  async #end(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const { handle, path, boardFolder, madeBoardFolder } = this.#place;
    await handle.close().catch(() => undefined);
    await removeDraft(this.#maker, path, madeBoardFolder ? boardFolder : undefined);
  }

  #allDigests(): Promise<ImageDigests> {
    this.#digests ??= this.#hash();
    return this.#digests;
  }

  async #hash(): Promise<ImageDigests> {
    const digester = new ImageDigester();
    for await (const chunk of readChunks(this.#place.handle)) digester.update(chunk);
    return digester.finish();
  }

  #checkContent(content: ManifestContent, { md5, sizeBytes }: ImageDigests): void {
    if (sizeBytes !== this.sizeBytes) throw this.#disturbed(`${PLAIN_IMAGE} has another size than before`);
    if (content.mac !== this.mac) throw new EspdError('internal', `A draft of ${this.mac} with data of ${content.mac}`);
    if (content.confirmed.md5 === md5) return;
    const message = `The chip has MD5 ${content.confirmed.md5} and the image read from it ${md5}`;
    throw new EspdError('digest-mismatch', message, { hint: 'Nothing was kept; try again, with a lower baud rate' });
  }

  /** Leaves the image in the draft's folder as it will be stored, fsynced and closed. */
  async #storeImage(): Promise<StoredImage> {
    const { handle, path } = this.#place;
    if (this.#maker.compression === 'none') {
      await handle.sync();
      await handle.close(); // waits for writes still under way, so that verification sees the last of them
      return { file: PLAIN_IMAGE, sha256: (await this.#allDigests()).sha256 };
    }
    const target = await this.#maker.disk.createFile(join(path, GZIP_IMAGE));
    try {
      const sha256 = await deflate(handle, target);
      await target.sync();
      await handle.close();
      await this.#maker.disk.fs.unlink(this.imagePath);
      return { file: GZIP_IMAGE, sha256 };
    } finally {
      await target.close();
    }
  }

  async #publish(content: ManifestContent, digests: ImageDigests, image: StoredImage): Promise<Backup> {
    const { disk, createdBy, log } = this.#maker;
    const { boardFolder, path, mac } = this.#place;
    for (;;) {
      const id = chooseId(await disk.fs.readdir(boardFolder), content.createdAt);
      const manifest = completeManifest({ content, digests, image, createdBy, id });
      const text = formatManifest(manifest);
      await disk.writeFile(join(path, MANIFEST), text);
      const checksums = new Map([
        [image.file, image.sha256],
        [MANIFEST, sha256Of(text)],
      ]);
      await disk.writeFile(join(path, CHECKSUMS), formatChecksums(checksums));
      await disk.syncFolder(path);

      // The reading side judges it before anybody can see it: whatever it would find later is found now.
      const verified = await verifyFolder(disk, path, { mac, id });
      const finding = verified?.findings[0];
      if (finding !== undefined) throw this.#disturbed(`${finding.file} ${finding.problem}`);

      const target = join(boardFolder, id);
      if (await disk.renameToNew(path, target)) {
        await disk.syncFolder(boardFolder);
        return { mac, id, path: target, manifest };
      }
      log.info('another process took the backup id first; taking the next one', { mac, id });
    }
  }

  #disturbed(what: string): EspdError {
    return new EspdError('archive-damaged', `The draft of ${this.mac} was disturbed: ${what}`, {
      hint: 'Something else writes into the archive, or memory or disk are faulty; nothing was kept',
    });
  }
}

interface StoredImage {
  readonly file: Manifest['image']['file'];
  /** Of the file as stored. */
  readonly sha256: string;
}

function chooseId(names: readonly string[], createdAt: string): string {
  try {
    return nextId(names, new Date(createdAt));
  } catch (error) {
    throw new EspdError('archive-unwritable', `No backup id is left after ${createdAt}`, {
      hint: 'A folder of the board is named by a time at the end of the calendar: move it away',
      cause: error,
    });
  }
}

function completeManifest(parts: {
  content: ManifestContent;
  digests: ImageDigests;
  image: StoredImage;
  createdBy: string;
  id: string;
}): Manifest {
  const { content, digests, image, createdBy, id } = parts;
  const { sizeBytes, sha256, md5, blocks } = digests;
  const manifest: Manifest = {
    formatVersion: FORMAT_VERSION,
    createdBy,
    id,
    ...content,
    image: { file: image.file, sizeBytes, sha256, md5 },
    blocks: { sizeBytes: 65536, sha256: [...blocks.sha256], md5: [...blocks.md5] },
  };
  const checked = manifestSchema.safeParse(manifest);
  if (checked.success) return checked.data;
  throw new EspdError('internal', `The manifest of a new backup is wrong: ${checked.error.message}`);
}

async function checkFreeSpace(maker: DraftMaker, folder: string, sizeBytes: number): Promise<void> {
  const { bavail, bsize, blocks } = await maker.disk.fs.statfs(folder);
  if (blocks === 0) return; // some network file systems tell nothing
  // While it is compressed, an image lies there twice, and deflate makes random bytes a little longer.
  const neededBytes = (maker.compression === 'gzip' ? 2.01 : 1) * sizeBytes + FREE_SPACE_MARGIN_BYTES;
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  const mib = (bytes: number) => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
  throw new EspdError(
    'disk-full',
    `The archive ${maker.root} has ${mib(freeBytes)} left and needs ${mib(neededBytes)}`,
    {
      hint: 'Free some space on the disk of the archive',
    },
  );
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
