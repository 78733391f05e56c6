/** elsewhere.jsonl of the boards on the disk. */

import { join } from 'node:path';
import { systemCode } from '../../errors.ts';
import { macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { readFully } from '../disk.ts';
import type { Disk } from '../disk.ts';
import { appendLine } from '../line-log.ts';
import { type LatestLine, LatestLines } from './latest-lines.ts';
import { ELSEWHERE, type Latest, MAX_LINE_BYTES, type StoredClaim, type StoredLine } from './stored-lines.ts';
import { keyOf, latestOf, outdates, readStoredClaim, toStoredLine } from './stored-lines.ts';
import type { NotedGone, StoredBackup } from './types.ts';

const CHUNK_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** Boards of which it is remembered what is noted, without manifests: some 300 bytes a backup. */
const MAX_REMEMBERED = 64;

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
  const lines = new LatestLines();
  await readLines(disk, boardFolder, mac, 0, (claim) => lines.take(claim));
  return [...lines.lines()];
}

function sorted<T extends Pick<StoredBackup, 'id' | 'store' | 'folder'>>(backups: readonly T[]): T[] {
  const nameOf = ({ id, store, folder }: T) => `${id} ${store} ${folder}`;
  return [...backups].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** What all lines of a file say, as far as it was read. */
interface Remembered {
  readonly inode: number;
  /** Behind the last line that is ended. */
  nextByte: number;
  readonly latest: Map<string, Latest>;
}

/** Rejects with the system's error. */
export class StoredLog {
  readonly #root: string;
  readonly #disk: Disk;
  readonly #remembered = new Map<Mac, Remembered>();

  constructor(root: string, disk: Disk) {
    this.#root = root;
    this.#disk = disk;
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
    const { latest } = await this.#know(mac);
    const known = latest.get(keyOf(line));
    const own = latestOf(line);
    if (!outdates(own, known)) return false;
    // What was never there need not be forgotten, but what comes later may be older than this.
    await appendLine(this.#disk, this.#folder(mac), ELSEWHERE, toStoredLine(line));
    latest.set(keyOf(line), own);
    return known === undefined
      ? !own.removed
      : known.removed !== own.removed || (!own.removed && known.what !== own.what);
  }

  /** Files only grow, so what was read need not be read again. */
  async #know(mac: Mac): Promise<Remembered> {
    const stats = await this.#disk.lstat(join(this.#folder(mac), ELSEWHERE));
    let known = this.#remembered.get(mac);
    if (known === undefined || known.inode !== (stats?.ino ?? 0) || known.nextByte > (stats?.size ?? 0)) {
      known = { inode: stats?.ino ?? 0, nextByte: 0, latest: new Map() };
    }
    const { latest } = known;
    if (known.nextByte < (stats?.size ?? 0)) {
      const lines = new LatestLines();
      known.nextByte = await readLines(this.#disk, this.#folder(mac), mac, known.nextByte, (claim) =>
        lines.take(claim),
      );
      for (const { line } of lines.lines()) {
        if (outdates(latestOf(line), latest.get(keyOf(line)))) latest.set(keyOf(line), latestOf(line));
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

function toStored(line: Extract<StoredLine, { readonly removed: false }>): StoredBackup {
  const { mac, id, store, folder, station, manifestSha256, manifest, at } = line;
  return { mac, id, store, folder, station, manifestSha256, manifest, at };
}

/** Lines that are none of this board are passed over. @returns where the last line ends that is ended */
async function readLines(
  disk: Disk,
  folder: string,
  mac: Mac,
  fromByte: number,
  take: (claim: StoredClaim) => void,
): Promise<number> {
  if ((await disk.lstat(folder))?.isSymbolicLink() === true)
    throw Object.assign(new Error(`${folder} is a link`), { code: 'ELOOP' });
  let opened: Awaited<ReturnType<Disk['openToRead']>>;
  try {
    opened = await disk.openToRead(join(folder, ELSEWHERE));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return 0;
    throw error;
  }
  const { handle, sizeBytes } = opened;
  try {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, Math.max(1, sizeBytes - fromByte)));
    let rest = Buffer.alloc(0);
    let endedAt = fromByte;
    for (let at = fromByte; at < sizeBytes;) {
      const got = await readFully(handle, chunk, at);
      if (got === 0) break;
      const bytes = Buffer.concat([rest, chunk.subarray(0, got)]);
      let start = 0;
      for (let end = bytes.indexOf(LINE_FEED); end !== -1; end = bytes.indexOf(LINE_FEED, start)) {
        const claim = end - start > MAX_LINE_BYTES ? undefined : readStoredClaim(mac, bytes.subarray(start, end));
        if (claim !== undefined) take(claim);
        start = end + 1;
      }
      at += got;
      if (start > 0) endedAt = at - (bytes.length - start);
      // Of a line that is too long only its being so is kept.
      rest = Buffer.from(bytes.subarray(start, start + MAX_LINE_BYTES + 1));
    }
    return endedAt;
  } finally {
    await handle.close();
  }
}
