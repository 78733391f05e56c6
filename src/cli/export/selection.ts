/** What of an image is to be exported: a region of it, or one file out of a file system in it. */

import { EspdError } from '../../errors.ts';
import type { Region } from '../../flash.ts';
import { filePartitions, readPartition, type FlashSource } from '../../firmware/contents.ts';
import { describeFirmware, type PartitionSummary } from '../../firmware/describe.ts';
import { readFileSystem, type FileSystemReading } from '../../firmware/filesystems/index.ts';
import { printable } from '../../printable.ts';
import { regionsOf } from '../../transfer/restore/parts.ts';

/** As the person has asked for it; all undefined = the whole image. */
export interface Wanted {
  readonly partition?: string;
  readonly offset?: number;
  readonly size?: number;
  readonly file?: string;
}

/** @throws EspdError `usage` for options that do not go together, or a name that no file of a file system has */
export function checkWanted({ partition, offset, size, file }: Wanted): void {
  const isRange = offset !== undefined || size !== undefined;
  if (isRange && (offset === undefined || size === undefined)) {
    throw new EspdError('usage', 'A range is named by --offset and --size together', {
      hint: '--offset 0x9000 --size 0x5000',
    });
  }
  if (isRange && (partition !== undefined || file !== undefined)) {
    throw new EspdError('usage', 'A range does not go together with --partition or --file', {
      hint: 'Name one part of the image',
    });
  }
  if (file !== undefined) checkFilePath(file);
}

/** Paths within the file system of an image, which begin at its root and go nowhere else. */
function checkFilePath(file: string): void {
  const wrong = (what: string) =>
    new EspdError('usage', `"${printable(file)}" ${what}`, {
      hint: 'Name the file as the firmware does, from the root on: --file /wifi.json',
    });
  if (!file.startsWith('/')) throw wrong('does not begin with "/"');
  if (file.split('/').some((part) => part === '..' || part === '.')) throw wrong('goes through "." or ".."');
  if (file.endsWith('/') || file.includes('\0')) throw wrong('names no file');
}

/**
 * The region that is meant, whole sectors for a partition.
 * @throws EspdError `usage` for a partition that the image does not have, or a range beyond it
 */
export async function wantedRegion(source: FlashSource, { partition, offset, size }: Wanted): Promise<Region> {
  if (partition !== undefined) return partitionRegion(source, partition);
  if (offset === undefined || size === undefined) return { offset: 0, sizeBytes: source.sizeBytes };
  if (size === 0 || offset + size > source.sizeBytes) {
    const image = `0x${source.sizeBytes.toString(16)}`;
    throw new EspdError('usage', `The range ends at 0x${(offset + size).toString(16)}: the image has ${image} bytes`, {
      hint: 'Name a range of one byte or more inside the image',
    });
  }
  return { offset, sizeBytes: size };
}

async function partitionRegion(source: FlashSource, name: string): Promise<Region> {
  const summary = await describeFirmware(source.read, source.sizeBytes, source.family);
  const [region] = regionsOf({ partitions: [name] }, summary, source.sizeBytes);
  if (region === undefined) throw new EspdError('internal', `No region of ${printable(name)}`);
  return region;
}

export interface FoundFile {
  /** Printable. */
  readonly partition: string;
  readonly kind: FileSystemReading['kind'];
  readonly bytes: Uint8Array;
  /** What is wrong elsewhere in that file system; sentence fragments. */
  readonly problems: readonly string[];
}

interface Mounted {
  readonly partition: Pick<PartitionSummary, 'name' | 'offset' | 'sizeBytes'>;
  readonly reading: FileSystemReading;
}

/**
 * @param path as {@link checkWanted} lets it pass
 * @param partition where it is looked for; undefined = wherever there are files
 * @throws EspdError `not-in-image`, `usage` where several partitions have it
 */
export async function findFile(source: FlashSource, path: string, partition: string | undefined): Promise<FoundFile> {
  const places =
    partition === undefined
      ? await filePartitions(source)
      : [{ name: printable(partition), ...(await partitionRegion(source, partition)) }];
  const mounted: Mounted[] = [];
  for (const place of places) {
    const { bytes } = await readPartition(source, place);
    const reading = bytes === null ? undefined : readFileSystem(bytes);
    if (reading !== undefined) mounted.push({ partition: place, reading });
  }
  const shown = printable(path);
  if (mounted.length === 0) {
    const where = partition === undefined ? 'The image' : `Partition ${printable(partition)}`;
    throw new EspdError('not-in-image', `${where} holds no file system that espd can read`, {
      hint: 'It may be encrypted or of another kind: export the partition whole, with --partition and without --file',
    });
  }
  const having = mounted.filter(({ reading }) =>
    reading.entries.some((entry) => entry.path === path && !entry.isFolder),
  );
  const [found, second] = having;
  if (found === undefined) throw noSuchFile(shown, path, mounted);
  if (second !== undefined) {
    const names = having.map(({ partition: { name } }) => name).join(', ');
    throw new EspdError('usage', `${shown} is in ${having.length} partitions: ${names}`, {
      hint: `Name one: --partition ${found.partition.name}`,
    });
  }
  const { reading } = found;
  const { bytes, problem } = reading.readFile(path);
  if (bytes === null) {
    throw new EspdError('not-in-image', `${shown} in partition ${found.partition.name} cannot be read: ${problem}`, {
      hint: `The file system is damaged. Export it whole: --partition ${found.partition.name} without --file`,
    });
  }
  return { partition: found.partition.name, kind: reading.kind, bytes, problems: reading.problems };
}

const MAX_NAMED = 5;

function noSuchFile(shown: string, path: string, mounted: readonly Mounted[]): EspdError {
  const entries = mounted.flatMap(({ reading }) => reading.entries);
  if (entries.some((entry) => entry.path === path)) {
    return new EspdError('not-in-image', `${shown} is a folder`, { hint: 'Name a file in it' });
  }
  const files = entries.filter(({ isFolder }) => !isFolder).map((entry) => printable(entry.path));
  const more = files.length > MAX_NAMED ? ` and ${files.length - MAX_NAMED} more` : '';
  const damaged = mounted.some(({ reading }) => reading.problems.length > 0);
  const isHere = files.length === 0 ? 'There are no files' : `There are ${files.slice(0, MAX_NAMED).join(', ')}${more}`;
  return new EspdError('not-in-image', `The image has no file ${shown}`, {
    hint: damaged ? `${isHere}; but the file system is damaged, and others may be lost in it` : isHere,
  });
}
