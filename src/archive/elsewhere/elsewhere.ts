/** What is noted of the object store and of other stations, in the folders of the boards. */

import { join } from 'node:path';
import { EspdError, systemCode } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { readFault, readFully, toWriteError } from '../disk.ts';
import type { Disk } from '../disk.ts';
import { appendLines } from '../line-log.ts';
import { toProblem } from '../problems.ts';
import { isStationName } from '../station.ts';
import { Turns } from '../turns.ts';
import { identityOf, parseMarkLines, readMarkLine } from './mark-lines.ts';
import { readStoredLine, toStoredLine } from './stored-lines.ts';
import type { StoredLine } from './stored-lines.ts';
import { StoredLog } from './stored-log.ts';
import type { ArchiveElsewhere, GoneBackup, MarkFile, OwnLines, StoredBackup } from './types.ts';

/** Longer than this a file of marks does not become by what others say: it would not be read any more. */
const MAX_MARK_BYTES = 8 * 1024 * 1024;

export interface ElsewhereParts {
  readonly root: string;
  readonly disk: Disk;
  readonly log: Logger;
  /** Rejects where the archive is not the one that this process began with. */
  checkIdentity(): Promise<void>;
}

export class Elsewhere implements ArchiveElsewhere {
  readonly #parts: ElsewhereParts;
  readonly #stored: StoredLog;
  /** What is news is told by what is there: one after the other. */
  readonly #writing = new Turns(1);

  constructor(parts: ElsewhereParts) {
    this.#parts = parts;
    this.#stored = new StoredLog(parts.root, parts.disk);
  }

  async of(mac: Mac): Promise<readonly StoredBackup[]> {
    try {
      return await this.#stored.read(mac);
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
      const known = new Set(parseMarkLines(file, text).map(identityOf));
      const news = new Map(told.map((line) => [identityOf(line), line] as const));
      for (const identity of known) news.delete(identity);
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

  async ownLines(mac: Mac, file: MarkFile, fromByte: number): Promise<OwnLines> {
    try {
      const { bytes, sizeBytes } = await this.#readMarks(this.#folder(mac), file);
      const isBeginning = fromByte === 0 || (fromByte <= sizeBytes && bytes[fromByte - 1] === 0x0a);
      const start = isBeginning ? fromByte : 0;
      const nextByte = Math.max(start, bytes.lastIndexOf(0x0a) + 1);
      const lines = parseMarkLines(file, bytes.toString('utf8', start, nextByte));
      return { lines: lines.filter(({ station }) => station === undefined), nextByte };
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

  /** Of a board that is known only from elsewhere, the folder is made. */
  #write<T>(mac: Mac, work: () => Promise<T>): Promise<T> {
    const { disk, root } = this.#parts;
    return this.#writing.take(async () => {
      try {
        await this.#parts.checkIdentity();
        const folder = this.#folder(mac);
        const stats = await disk.lstat(folder);
        if (stats !== undefined && !stats.isDirectory())
          throw Object.assign(new Error(`${folder} is no folder`), { code: 'ENOTDIR' });
        if (stats === undefined) await disk.makeFolder(folder);
        return await work();
      } catch (error) {
        throw toWriteError(error, root);
      }
    });
  }

  #folder(mac: Mac): string {
    return join(this.#parts.root, macToFolder(mac));
  }
}
