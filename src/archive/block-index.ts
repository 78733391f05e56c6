/**
 * Which blocks the boards of the fleet hold, without reading a thousand manifests for each backup: in memory, and in
 * the archive's cache for the next process. Hints only: what it says wrongly costs time.
 *
 * A board is looked at again when its folder has changed. So backups that came or went by another process or by hand
 * are seen, and it does not matter whose copy of the file was written last. Not all folders are looked at for each
 * backup, whose board waits meanwhile: a few by turns, and none while a service looks at all of them now and then.
 */

import { randomInt } from 'node:crypto';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
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
/** The same where nobody waits. */
const AT_LEISURE = 2;
/** Of the boards that are known so many are looked at for one backup, and so many of those that are not. */
const LOOKS = 64;
/** After a look at all boards none is looked at for so long: what others have added meanwhile is read from the wire. */
const FRESH_MS = 30 * 60 * 1000;
/** A board whose newest backups are all damaged has nothing to say. */
const MAX_TRIES = 3;

interface Parts {
  readonly root: string;
  readonly disk: Disk;
  readonly cache: ArchiveCache;
  readonly log: Logger;
  readonly clock: Clock;
}

export class BlockIndex {
  readonly #parts: Parts;
  #boards = new Map<Mac, BoardBlocks>();
  #loading: Promise<void> | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #saving: Promise<void> | undefined;
  #unsaved = false;
  /** When all boards were last looked at, by the parts' clock. */
  #allMs = -Infinity;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** The newest backup of each board, as far as is known. Rejects only with the signal's reason. */
  async newest(signal?: AbortSignal): Promise<Map<Mac, NewestBackup>> {
    signal?.throwIfAborted();
    await this.#load();
    const isFresh = this.#parts.clock.now() - this.#allMs < FRESH_MS;
    if (!isFresh) await this.#inTurn(() => this.#refresh(LOOKS, AT_ONCE, signal));
    signal?.throwIfAborted();
    const found = new Map<Mac, NewestBackup>();
    for (const [mac, { newest }] of this.#boards) if (newest !== undefined) found.set(mac, newest);
    return found;
  }

  /** Looks at all boards, slowly. Rejects only with the signal's reason. */
  async refresh(signal?: AbortSignal): Promise<void> {
    await this.#inTurn(async () => {
      const startMs = this.#parts.clock.now();
      if (await this.#refresh(Infinity, AT_LEISURE, signal)) this.#allMs = startMs;
    });
  }

  /** One after the other: what the first one has looked at is known to the second. */
  async #inTurn(work: () => Promise<unknown>): Promise<void> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => undefined);
    await turn;
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

  /** @returns false where the archive cannot be listed */
  async #refresh(looks: number, atOnce: number, signal: AbortSignal | undefined): Promise<boolean> {
    signal?.throwIfAborted();
    await this.#load();
    const { root, disk, log } = this.#parts;
    let names: string[];
    try {
      names = await disk.fs.readdir(root);
    } catch (error) {
      log.debug('the block index cannot be brought up to date', { error: String(error) });
      return false;
    }
    const macs = new Set(names.flatMap((name) => macFromFolder(name) ?? []));
    for (const mac of this.#boards.keys()) {
      if (macs.has(mac)) continue;
      this.#boards.delete(mac);
      this.#unsaved = true;
    }
    await forEachAtOnce(this.#choose([...macs], looks), atOnce, (mac) => this.#look(mac), signal);
    await this.#save();
    return true;
  }

  /**
   * At most `looks` boards that are new, and as many of the others, from a random one on. All where most are new: then
   * there is no index yet, and it is made once.
   */
  #choose(macs: readonly Mac[], looks: number): Mac[] {
    const isNew = (mac: Mac) => (this.#boards.get(mac)?.folderMs ?? 0) === 0;
    const added = macs.filter(isNew);
    if (macs.length <= looks || added.length > macs.length / 2) return [...macs];
    const known = macs.filter((mac) => !isNew(mac));
    const start = randomInt(known.length);
    return [...added.slice(0, looks), ...[...known.slice(start), ...known.slice(0, start)].slice(0, looks)];
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
