/** What is noted of the object store and of other stations, in the folders of the boards. */

import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { EspdError, systemCode } from '../../errors.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { printable } from '../../printable.ts';
import type { Backup } from '../backup.ts';
import { readFully } from '../disk.ts';
import { readFault, toWriteError } from '../disk-faults.ts';
import { MANIFEST } from '../folder.ts';
import { isBackupId } from '../ids.ts';
import { appendLines } from '../line-log.ts';
import { MAX_MANIFEST_BYTES } from '../manifest.ts';
import { toProblem } from '../problems.ts';
import type { Pruner } from '../prune.ts';
import { isStationName } from '../station.ts';
import { TurnsOf } from '../turns.ts';
import { type AdopterParts, adopt } from './adopt.ts';
import { identityOf, parseMarkLines, readMarkLine } from './mark-lines.ts';
import { readStoredLine, toStoredLine } from './stored-lines.ts';
import type { StoredLine } from './stored-lines.ts';
import { StoredLog } from './stored-log.ts';
import { tailOf } from './tail.ts';
import type { Adoption, ArchiveElsewhere, Fill, GoneBackup, MarkFile } from './types.ts';
import type { NotedGone, OwnLines, StoredBackup } from './types.ts';

/** Longer than this a file of marks does not become by what others say: it would not be read any more. */
const MAX_MARK_BYTES = 8 * 1024 * 1024;

export interface ElsewhereParts extends AdopterParts {
  readonly release: Pruner['release'];
  /** Rejects where the archive is not the one that this process began with. */
  checkIdentity(): Promise<void>;
}

export class Elsewhere implements ArchiveElsewhere {
  readonly #parts: ElsewhereParts;
  readonly #stored: StoredLog;
  /** What is news of a board is told by what is there: one after the other. */
  readonly #writing = new TurnsOf<Mac>();

  constructor(parts: ElsewhereParts) {
    this.#parts = parts;
    this.#stored = new StoredLog(parts);
  }

  of(mac: Mac): Promise<readonly StoredBackup[]> {
    return this.#orNothing(mac, () => this.#stored.read(mac));
  }

  gone(mac: Mac): Promise<readonly NotedGone[]> {
    return this.#orNothing(mac, () => this.#stored.gone(mac));
  }

  async #orNothing<T>(mac: Mac, read: () => Promise<readonly T[]>): Promise<readonly T[]> {
    try {
      return await read();
    } catch (error) {
      const { problem } = readFault(error);
      this.#parts.log.debug('what lies in the store cannot be read', { mac, problem });
      return [];
    }
  }

  note(backup: StoredBackup): Promise<boolean> {
    return this.#add({ removed: false, ...backup });
  }

  forget(gone: GoneBackup): Promise<boolean> {
    return this.#add({ removed: true, ...gone });
  }

  async #add(line: StoredLine): Promise<boolean> {
    const { mac, id } = line;
    // The same check as of what is read, so nothing is written that would not be understood.
    const checked = readStoredLine(mac, toStoredLine(line));
    if (checked === undefined)
      throw new EspdError('usage', `What is said of backup ${id} of ${mac} in the store is no note of a backup`, {
        hint: 'The store holds what no espd has written, or a newer one',
      });
    return this.#write(mac, () => this.#stored.add(checked));
  }

  async receive(mac: Mac, file: MarkFile, station: string, lines: readonly unknown[]): Promise<number> {
    if (!isStationName(station)) return 0;
    const told = lines.flatMap((json) => readMarkLine(file, json) ?? []).map((line) => ({ ...line, station }));
    if (told.length === 0) return 0;
    return this.#write(mac, async () => {
      const folder = this.#folder(mac);
      const { text, sizeBytes } = await this.#readMarks(folder, file);
      const known = new Set(parseMarkLines(file, text).map((line) => identityOf(line)));
      // What this station has noted itself, and said, may come back to it.
      const fresh = told.filter(
        (line) => !known.has(identityOf(line)) && !known.has(identityOf(line, { station: undefined })),
      );
      const news = new Map(fresh.map((line) => [identityOf(line), line] as const));
      if (news.size === 0) return 0;
      const growth = Array.from(news.keys()).reduce((sum, each) => sum + Buffer.byteLength(each) + 1, 0);
      if (sizeBytes + growth > MAX_MARK_BYTES) {
        this.#parts.log.warn('another station has noted more of a board than can be kept', { mac, file, station });
        return 0;
      }
      await appendLines(this.#parts.disk, folder, file, [...news.values()]);
      return news.size;
    });
  }

  async ownLines(mac: Mac, file: MarkFile, fromByte: number, tail?: string): Promise<OwnLines> {
    try {
      const { bytes, sizeBytes } = await this.#readMarks(this.#folder(mac), file);
      const isBeginning = fromByte === 0 || (fromByte <= sizeBytes && bytes[fromByte - 1] === 0x0a);
      const isSame = isBeginning && (tail === undefined || tailOf(bytes.subarray(0, fromByte)) === tail);
      const start = isSame ? fromByte : 0;
      const nextByte = Math.max(start, bytes.lastIndexOf(0x0a) + 1);
      const lines = parseMarkLines(file, bytes.toString('utf8', start, nextByte));
      return {
        lines: lines.filter(({ station }) => station === undefined),
        nextByte,
        tail: tailOf(bytes.subarray(0, nextByte)),
      };
    } catch (error) {
      throw toProblem(mac, null, join(macToFolder(mac), file), readFault(error)).error;
    }
  }

  async #readMarks(folder: string, file: MarkFile): Promise<{ bytes: Buffer; text: string; sizeBytes: number }> {
    const { disk } = this.#parts;
    let bytes = Buffer.alloc(0);
    try {
      const { handle, sizeBytes } = await disk.openToRead(join(folder, file));
      try {
        bytes = Buffer.alloc(sizeBytes);
        bytes = bytes.subarray(0, await readFully(handle, bytes, 0));
      } finally {
        await handle.close();
      }
    } catch (error) {
      if (systemCode(error) !== 'ENOENT') throw error;
    }
    return { bytes, text: bytes.toString('utf8'), sizeBytes: bytes.length };
  }

  async adopt(adoption: Adoption, fill: Fill, signal?: AbortSignal): Promise<Backup> {
    if (!isBackupId(adoption.id)) throw new EspdError('usage', `${printable(adoption.id)} is no backup id`);
    await this.#write(adoption.mac, () => Promise.resolve());
    try {
      return await adopt(this.#parts, adoption, fill, signal);
    } catch (error) {
      throw toWriteError(error, this.#parts.root);
    }
  }

  async release(mac: Mac, id: string): Promise<boolean> {
    if (!isBackupId(id)) return false;
    return this.#parts.release(mac, id, async () => {
      const path = join(this.#folder(mac), id, MANIFEST);
      const own = createHash('sha256')
        .update(await this.#parts.disk.readSmall(path, MAX_MANIFEST_BYTES))
        .digest('hex');
      return (await this.#stored.read(mac)).some((each) => each.id === id && each.manifestSha256 === own);
    });
  }

  /** Of a board that is known only from elsewhere, the folder is made. */
  #write<T>(mac: Mac, work: () => Promise<T>): Promise<T> {
    const { disk, root } = this.#parts;
    return this.#writing.take(mac, async () => {
      try {
        await this.#parts.checkIdentity();
        const folder = this.#folder(mac);
        const stats = await disk.lstat(folder);
        if (stats !== undefined && !stats.isDirectory())
          throw Object.assign(new Error(`${folder} is no folder`), { code: 'ENOTDIR' });
        const parents = stats === undefined ? await disk.makeFolderUnsynced(folder) : [];
        const done = await work();
        // Behind the work's own fsync, with which the file system has most likely put these names on the disk as well: a first
        // look makes a folder for every board of a fleet.
        for (const parent of parents) await disk.syncFolder(parent);
        return done;
      } catch (error) {
        throw toWriteError(error, root);
      }
    });
  }

  #folder(mac: Mac): string {
    return join(this.#parts.root, macToFolder(mac));
  }
}
