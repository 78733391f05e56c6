/**
 * Which blocks the boards of the fleet hold, without reading a thousand manifests for each backup: in memory, and in
 * the archive's cache for the next process. Hints only: what it says wrongly costs time.
 *
 * A board is looked at again when its folder has changed. So backups that came or went by another process or by hand
 * are seen, and it does not matter whose copy of the file was written last.
 */

import { join } from 'node:path';
import type { Logger } from '../log.ts';
import { macFromFolder, macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { forEachAtOnce } from './at-once.ts';
import { decodeBlocks, encodeBlocks } from './block-file.ts';
import type { BoardBlocks, NewestBackup } from './block-file.ts';
import type { Disk } from './disk.ts';
import { MANIFEST } from './folder.ts';
import { isBackupId } from './ids.ts';
import { MAX_MANIFEST_BYTES, contradictions, parseManifest } from './manifest.ts';
import type { Manifest } from './manifest.ts';
import type { ArchiveCache, Backup } from './types.ts';

export const BLOCKS = 'blocks.bin';

/** Folders looked at in one go: each call passes through one of few threads that ports and images need, too. */
const AT_ONCE = 8;
/** A board whose newest backups are all damaged has nothing to say. */
const MAX_TRIES = 3;

interface Parts {
  readonly root: string;
  readonly disk: Disk;
  readonly cache: ArchiveCache;
  readonly log: Logger;
}

export class BlockIndex {
  readonly #parts: Parts;
  #boards = new Map<Mac, BoardBlocks>();
  #loading: Promise<void> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> | undefined;
  #unsaved = false;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The newest backup of each board, as the archive is now. Rejects only with the signal's reason. */
  async newest(signal?: AbortSignal): Promise<Map<Mac, NewestBackup>> {
    // One after the other: what the first one has looked at is known to the second.
    const turn = this.#turn.then(() => this.#refresh(signal));
    this.#turn = turn.catch(() => undefined);
    await turn;
    const found = new Map<Mac, NewestBackup>();
    for (const [mac, { newest }] of this.#boards) if (newest !== undefined) found.set(mac, newest);
    return found;
  }

  /** Takes a new backup in, unless it is older than the newest: an imported one may be. Never rejects. */
  async add({ mac, id, manifest }: Backup): Promise<void> {
    await this.#load();
    if (id < (this.#boards.get(mac)?.newest?.id ?? '')) return;
    this.#set(mac, { folderMs: 0, newest: toNewest(manifest) });
    await this.#save();
  }

  #set(mac: Mac, blocks: BoardBlocks): void {
    this.#boards.set(mac, blocks);
    this.#unsaved = true;
  }

  #load(): Promise<void> {
    this.#loading ??= (async () => {
      const { cache, log } = this.#parts;
      const bytes = await cache.read(BLOCKS);
      const boards = bytes === undefined ? undefined : decodeBlocks(bytes);
      if (boards !== undefined) this.#boards = boards;
      else if (bytes !== undefined) log.debug('the block index is of no use and made anew', { bytes: bytes.length });
    })();
    return this.#loading;
  }

  async #refresh(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    await this.#load();
    const { root, disk, log } = this.#parts;
    let names: string[];
    try {
      names = await disk.fs.readdir(root);
    } catch (error) {
      log.debug('the block index cannot be brought up to date', { error: String(error) });
      return;
    }
    const macs = new Set(names.flatMap((name) => macFromFolder(name) ?? []));
    for (const mac of this.#boards.keys()) {
      if (macs.has(mac)) continue;
      this.#boards.delete(mac);
      this.#unsaved = true;
    }
    await forEachAtOnce([...macs], AT_ONCE, (mac) => this.#look(mac), signal);
    await this.#save();
  }

  async #look(mac: Mac): Promise<void> {
    const { root, disk, log } = this.#parts;
    const folder = join(root, macToFolder(mac));
    try {
      // Before its content is looked at: what changes meanwhile is seen the next time.
      const stats = await disk.lstat(folder);
      const folderMs = stats?.isDirectory() === true ? stats.mtimeMs : 0;
      const known = this.#boards.get(mac);
      if (folderMs !== 0 && known?.folderMs === folderMs) return;
      const ids = folderMs === 0 ? [] : (await disk.fs.readdir(folder)).filter(isBackupId).sort().reverse();
      if (known !== undefined && ids[0] === known.newest?.id) {
        this.#boards.set(mac, { folderMs, newest: known.newest }); // not worth writing the file again
        return;
      }
      this.#set(mac, { folderMs, newest: await this.#readNewest(mac, ids) });
    } catch (error) {
      // Not for ever, perhaps: the next one looks again.
      log.debug('a board is missing in the block index', { mac, error: String(error) });
      this.#boards.delete(mac);
    }
  }

  /** Rejects with the system's error where a manifest cannot be read now. */
  async #readNewest(mac: Mac, ids: readonly string[]): Promise<NewestBackup | undefined> {
    const { root, disk } = this.#parts;
    for (const id of ids.slice(0, MAX_TRIES)) {
      const path = join(root, macToFolder(mac), id);
      if ((await disk.lstat(path))?.isDirectory() !== true || !(await disk.exists(join(path, MANIFEST)))) continue;
      const reading = parseManifest((await disk.readSmall(join(path, MANIFEST), MAX_MANIFEST_BYTES)).toString('utf8'));
      if (reading.kind !== 'read') continue;
      const { manifest } = reading;
      if (manifest.mac === mac && manifest.id === id && contradictions(manifest).length === 0)
        return toNewest(manifest);
    }
    return undefined;
  }

  /** Writes what is not yet in the file, once for all who ask meanwhile. */
  async #save(): Promise<void> {
    while (this.#unsaved || this.#saving !== undefined) {
      this.#saving ??= this.#write();
      await this.#saving;
    }
  }

  async #write(): Promise<void> {
    this.#unsaved = false;
    try {
      await this.#parts.cache.write(BLOCKS, encodeBlocks(this.#boards));
    } finally {
      this.#saving = undefined;
    }
  }
}

function toNewest({ id, image, blocks }: Manifest): NewestBackup {
  return { id, sizeBytes: image.sizeBytes, file: image.file, md5s: Buffer.from(blocks.md5.join(''), 'hex') };
}
