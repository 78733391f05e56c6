/** Takes what others have said into the archive, within bounds: no journal can fill the disk, or a board's folder. */

import { join } from 'node:path';
import { forEachAtOnce } from '../../archive/at-once.ts';
import type { MarkFile } from '../../archive/elsewhere/types.ts';
import { sharedFileSystem as fs } from '../../archive/node-fs.ts';
import { EspdError, hasCode } from '../../errors.ts';
import { type Mac, macToFolder } from '../../mac.ts';
import type { NewsBook } from './news.ts';
import type { JournalArchive } from './own-lines.ts';
import type { JournalLine, MarkLine } from './segment.ts';

/** A file of marks that is longer takes no more of others; 16 MiB are read of it, so there is room for this station's own. */
export const MAX_MARKS_BYTES = 4 * 1024 * 1024;
/** So it is with what is known of backups elsewhere: some 6,000 of 4 MiB of flash each that are there at once. */
export const MAX_STORED_BYTES = 64 * 1024 * 1024;
/** That one is gone is heard even so: of what is gone the file is made shorter when a line is added. */
const MAX_GONE_BYTES = MAX_STORED_BYTES + 1024 * 1024;
const STORED = 'elsewhere.jsonl';
/** Boards whose lines are put on the disk at a time: a disk takes several fsyncs together, and a first look has one a board. */
const AT_ONCE = 8;
/** Room that others leave to the backups of this station. */
export const MIN_FREE_BYTES = 256 * 1024 * 1024;

type BackupLine = Exclude<JournalLine, { kind: 'mark' }>;

export interface ReceiverParts {
  readonly archive: JournalArchive;
  /** Of the archive's disk. */
  readonly freeBytes: () => Promise<number>;
  /** Below that nothing is taken in; null = {@link MIN_FREE_BYTES}. */
  readonly minFreeBytes: number | null;
}

export class Receiver {
  readonly #parts: ReceiverParts;
  /** Lengths of files, as far as they are known in this look. */
  readonly #bytes = new Map<string, number>();

  constructor(parts: ReceiverParts) {
    this.#parts = parts;
  }

  beginLook(): void {
    this.#bytes.clear();
  }

  /** @throws EspdError `disk-full`, `archive-unwritable`; the signal's reason. What was taken in until then stays */
  async take(
    from: { readonly station: string; readonly store: string },
    lines: readonly JournalLine[],
    book: NewsBook,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#checkRoom();
    const marks = new Map<string, { mac: Mac; file: MarkFile; lines: MarkLine[] }>();
    const backups = new Map<Mac, BackupLine[]>();
    for (const line of lines) {
      if (line.kind !== 'mark') {
        const own = backups.get(line.mac) ?? [];
        own.push(line);
        backups.set(line.mac, own);
        continue;
      }
      const { mac, file } = line;
      const group = marks.get(`${mac} ${file}`) ?? { mac, file, lines: [] };
      group.lines.push(line.line);
      marks.set(`${mac} ${file}`, group);
    }
    await allOrFirstFault([...backups.values()], signal, async (own) => {
      for (const line of own) {
        signal.throwIfAborted();
        await this.#takeBackup(from, line, book);
      }
    });
    await allOrFirstFault([...marks.values()], signal, async ({ mac, file, lines: group }) => {
      if (await this.#isFull(mac, file, MAX_MARKS_BYTES, JSON.stringify(group).length)) {
        book.full(from.station, mac, file, MAX_MARKS_BYTES);
        return;
      }
      const count = await this.#parts.archive.elsewhere.receive(mac, file, from.station, group);
      book.add(from.station, mac, 'marks', count);
      if (count > 0 && file === 'labels.jsonl') book.describe(mac);
    });
  }

  async #takeBackup(
    { station, store }: { readonly station: string; readonly store: string },
    line: BackupLine,
    book: NewsBook,
  ): Promise<void> {
    const { elsewhere } = this.#parts.archive;
    const { mac } = line;
    try {
      const maxBytes = line.kind === 'removed' ? MAX_GONE_BYTES : MAX_STORED_BYTES;
      if (await this.#isFull(mac, STORED, maxBytes, JSON.stringify(line).length)) {
        book.full(station, mac, STORED, MAX_STORED_BYTES);
      } else if (line.kind === 'removed') {
        const { id, folder, at } = line;
        if (await elsewhere.forget({ mac, id, folder, at, store })) book.add(station, mac, 'removed');
      } else {
        const { id, folder, at, manifestSha256, manifest } = line;
        const isNews = await elsewhere.note({ mac, id, store, folder, station, at, manifestSha256, manifest });
        if (isNews) book.add(station, mac, 'backups');
      }
    } catch (error) {
      // What the archive finds wrong with it; faults of the disk are for the caller.
      if (!hasCode(error, 'usage')) throw error;
    }
  }

  async #checkRoom(): Promise<void> {
    const { archive, freeBytes, minFreeBytes } = this.#parts;
    const wanted = Math.max(MIN_FREE_BYTES, minFreeBytes ?? 0);
    const free = await freeBytes();
    if (free >= wanted) return;
    const [has, needs] = [free, wanted].map((bytes) => Math.round(bytes / 1024 / 1024));
    throw new EspdError(
      'disk-full',
      `The disk of ${archive.root} has ${has} MiB left: what other stations say is not taken in`,
      {
        hint: `Make room: it goes on by itself with ${needs} MiB. Backups of boards here go on meanwhile`,
      },
    );
  }

  async #isFull(mac: Mac, file: string, maxBytes: number, addedBytes: number): Promise<boolean> {
    const path = join(this.#parts.archive.root, macToFolder(mac), file);
    const bytes =
      this.#bytes.get(path) ??
      (await fs.lstat(path).then(
        ({ size }) => size,
        () => 0,
      ));
    const isFull = bytes + addedBytes > maxBytes;
    this.#bytes.set(path, isFull ? bytes : bytes + addedBytes);
    return isFull;
  }
}

/** When it rejects, nothing of it is under way any more: whoever gives up does not write behind the caller's back. */
async function allOrFirstFault<T>(
  items: readonly T[],
  signal: AbortSignal,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const faults: unknown[] = [];
  await forEachAtOnce(items, AT_ONCE, async (item) => {
    if (faults.length > 0) return;
    try {
      signal.throwIfAborted();
      await work(item);
    } catch (error) {
      faults.push(error);
    }
  });
  if (faults.length > 0) throw faults[0];
}
