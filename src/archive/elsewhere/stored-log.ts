/** elsewhere.jsonl of the boards on the disk. */

import type { Stats } from 'node:fs';
import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import type { Logger } from '../../log.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import type { Disk } from '../disk.ts';
import { appendToReplaced } from '../line-log.ts';
import { carryLeftovers, compact } from './compaction.ts';
import type { LatestLine } from './latest-lines.ts';
import { readStoredFile } from './stored-file.ts';
import { ELSEWHERE, type Latest, type StoredLine, keyOf, latestOf, outdates, toStoredLine } from './stored-lines.ts';
import type { NotedGone, StoredBackup } from './types.ts';

/** Boards of which it is remembered what is noted, without manifests: some 300 bytes a backup. */
const MAX_REMEMBERED = 64;

/**
 * A shorter file is left as it is. A longer one is made shorter when most of it is of no use: then it has doubled since the last time,
 * so each byte is read twice more and written once more at most, however long it goes on.
 */
const MIN_COMPACTED_BYTES = 1024 * 1024;

/**
 * All backups of a board that are in a store, oldest first; none where there is no file. Rejects with the system's error.
 */
export async function readStored(disk: Disk, boardFolder: string, mac: Mac): Promise<StoredBackup[]> {
  const lines = await readLatest(disk, boardFolder, mac);
  return sorted(lines.flatMap(({ line }) => (line.removed ? [] : [toStored(line)])));
}

/** All that were in a store and are not any more. Rejects with the system's error. */
export async function readGone(disk: Disk, boardFolder: string, mac: Mac): Promise<NotedGone[]> {
  const lines = await readLatest(disk, boardFolder, mac);
  return sorted(lines.flatMap(({ line, manifestSha256 }) => (line.removed ? [{ ...line, manifestSha256 }] : [])));
}

async function readLatest(disk: Disk, boardFolder: string, mac: Mac): Promise<LatestLine[]> {
  return [...(await readStoredFile(disk, boardFolder, ELSEWHERE, mac)).lines.lines()];
}

function sorted<T extends Pick<StoredBackup, 'id' | 'store' | 'folder'>>(backups: readonly T[]): T[] {
  const nameOf = ({ id, store, folder }: T) => `${id} ${store} ${folder}`;
  return [...backups].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** What all lines of a file say, as far as it was read. */
interface Remembered {
  /** Which file: numbers of inodes are used again, so when it was made belongs to it where the file system tells. */
  readonly file: string;
  /** Behind the last line that is ended. */
  nextByte: number;
  readonly latest: Map<string, Latest>;
  /** Length of the line that counts, by its folder in a store. */
  readonly lengths: Map<string, number>;
  /** Of lines that this espd does not understand. */
  otherBytes: number;
  /** How long the file was when it could not be made shorter. */
  triedAtBytes: number;
}

export interface StoredLogParts {
  readonly root: string;
  readonly disk: Disk;
  readonly log: Logger;
  /** Default: {@link MIN_COMPACTED_BYTES}. */
  readonly minCompactedBytes?: number;
}

/** Rejects with the system's error. */
export class StoredLog {
  readonly #root: string;
  readonly #disk: Disk;
  readonly #log: Logger;
  readonly #minCompactedBytes: number;
  readonly #remembered = new Map<Mac, Remembered>();

  constructor({ root, disk, log, minCompactedBytes = MIN_COMPACTED_BYTES }: StoredLogParts) {
    this.#root = root;
    this.#disk = disk;
    this.#log = log;
    this.#minCompactedBytes = minCompactedBytes;
  }

  /** See {@link readStored}. */
  read(mac: Mac): Promise<StoredBackup[]> {
    return readStored(this.#disk, this.#folder(mac), mac);
  }

  /** See {@link readGone}. */
  gone(mac: Mac): Promise<NotedGone[]> {
    return readGone(this.#disk, this.#folder(mac), mac);
  }

  /** Appends what is news, to a board's folder that is there. False: it is none. */
  async add(line: StoredLine): Promise<boolean> {
    const { mac } = line;
    const all = await this.#know(mac);
    const known = all.latest.get(keyOf(line));
    const own = latestOf(line);
    if (!outdates(own, known)) return false;
    // What was never there need not be forgotten, but what comes later may be older than this.
    const text = `${JSON.stringify(toStoredLine(line))}\n`;
    await appendToReplaced(this.#disk, this.#folder(mac), ELSEWHERE, text);
    all.latest.set(keyOf(line), own);
    all.lengths.set(keyOf(line), text.length);
    await this.#compactWhereItPays(mac, all);
    return known === undefined
      ? !own.removed
      : known.removed !== own.removed || (!own.removed && known.what !== own.what);
  }

  /** The line is written, whatever comes of this. */
  async #compactWhereItPays(mac: Mac, known: Remembered): Promise<void> {
    const { nextByte, lengths, otherBytes, triedAtBytes } = known;
    if (nextByte < Math.max(this.#minCompactedBytes, 2 * triedAtBytes)) return;
    const usefulBytes = [...lengths.values()].reduce((sum, each) => sum + each + 1, otherBytes);
    if (2 * usefulBytes > nextByte) return;
    known.triedAtBytes = nextByte;
    try {
      const isDone = await compact(this.#disk, this.#folder(mac), mac);
      this.#log.debug(isDone ? 'what was noted of the store is shorter now' : 'it stays as long as it is', { mac });
    } catch (error) {
      const problem = systemCode(error) ?? String(error);
      this.#log.warn(`${ELSEWHERE} cannot be made shorter; all that it says is there`, { mac, problem });
    }
  }

  /** Nobody who notes something has to wait until that succeeds: as long as it does not, all of it stays where it is. */
  async #carryLeftovers(mac: Mac): Promise<void> {
    try {
      await carryLeftovers(this.#disk, this.#folder(mac), mac);
    } catch (error) {
      const problem = systemCode(error) ?? String(error);
      this.#log.warn(`what an ended process has left beside ${ELSEWHERE} cannot be carried over`, { mac, problem });
    }
  }

  /**
   * What was read need not be read again, as long as it is this file. Should another one be taken for it (some file systems do not
   * tell when it was made), what is remembered is true even so, and what is not remembered is noted once more.
   */
  async #know(mac: Mac): Promise<Remembered> {
    const folder = this.#folder(mac);
    const path = join(folder, ELSEWHERE);
    let stats = await this.#disk.lstat(path);
    let known = this.#remembered.get(mac);
    if (known === undefined || known.file !== fileOf(stats) || known.nextByte > (stats?.size ?? 0)) {
      await this.#carryLeftovers(mac);
      stats = await this.#disk.lstat(path);
      known = {
        ...{ file: fileOf(stats), nextByte: 0, latest: new Map(), lengths: new Map() },
        ...{ otherBytes: 0, triedAtBytes: 0 },
      };
    }
    const { latest, lengths } = known;
    if (known.nextByte < (stats?.size ?? 0)) {
      const { lines, others, nextByte } = await readStoredFile(this.#disk, folder, ELSEWHERE, mac, known.nextByte);
      known.nextByte = nextByte;
      known.otherBytes += others.reduce((sum, each) => sum + each.length + 1, 0);
      for (const { line, bytes } of lines.kept()) {
        if (line === undefined) known.otherBytes += bytes.length + 1;
        else if (outdates(latestOf(line), latest.get(keyOf(line)))) {
          latest.set(keyOf(line), latestOf(line));
          lengths.set(keyOf(line), bytes.length);
        }
      }
    }
    this.#remembered.delete(mac);
    this.#remembered.set(mac, known);
    for (const oldest of this.#remembered.keys()) {
      if (this.#remembered.size <= MAX_REMEMBERED) break;
      this.#remembered.delete(oldest);
    }
    return known;
  }

  #folder(mac: Mac): string {
    return join(this.#root, macToFolder(mac));
  }
}

function fileOf(stats: Stats | undefined): string {
  return stats === undefined ? '' : `${stats.ino} ${stats.birthtimeMs}`;
}

function toStored(line: Extract<StoredLine, { readonly removed: false }>): StoredBackup {
  const { mac, id, store, folder, station, manifestSha256, manifest, at } = line;
  return { mac, id, store, folder, station, manifestSha256, manifest, at };
}
