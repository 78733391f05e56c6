/**
 * What is in one flash image: its parts, the keys of its NVS partitions, the files of its file systems. Never throws on
 * content; what is told, and what is read for it, is bounded whatever a partition table says.
 */

import { nvsProblems, nvsValue } from './compare/nvs.ts';
import { fileProblems } from './compare/files.ts';
import { MAX_CONTENT_BYTES, type FlashSource, readPartition, useOf } from './contents.ts';
import { describeFirmware, type PartitionSummary } from './describe.ts';
import { readFileSystem } from './filesystems/index.ts';
import { mapFlash } from './flash-map.ts';
import type { FilesInventory, Inventory, NvsInventory, NvsKey } from './inventory-types.ts';
import { readNvs } from './nvs.ts';

export interface InventoriedImage extends FlashSource {
  /** Flash encryption is on, so that the image is ciphertext. */
  readonly encrypted: boolean;
}

export interface InventoryOptions {
  /** Values of NVS are told, but for those whose key names a secret. */
  readonly reveal: boolean;
  readonly signal?: AbortSignal;
}

/** Of keys, and of files, in one partition. */
export const MOST_ENTRIES = 5000;
const MAX_PROBLEMS = 20;
/** A path longer than this is no path of a board's; it is cut. */
const MAX_PATH_CHARACTERS = 1024;

/** @throws what the reader throws; the signal's reason */
export async function takeInventory(image: InventoriedImage, options: InventoryOptions): Promise<Inventory> {
  const { sizeBytes, family, encrypted } = image;
  const summary = await describeFirmware(image.read, sizeBytes, family);
  const { firmware, partitions, tableOffset } = summary;
  const nvs: NvsInventory[] = [];
  const files: FilesInventory[] = [];
  // Overlapping partitions could have the same bytes looked through a hundred times.
  let leftBytes = Math.min(2 * sizeBytes, 2 * MAX_CONTENT_BYTES);
  for (const partition of encrypted ? [] : partitions) {
    const use = useOf(partition);
    if (use !== 'nvs' && use !== 'files') continue;
    options.signal?.throwIfAborted();
    const isTooMuch = partition.sizeBytes > leftBytes;
    const { bytes, problem } = isTooMuch
      ? { bytes: null, problem: 'is left out: the partitions are larger than the flash' }
      : await readPartition(image, partition);
    leftBytes -= bytes?.length ?? 0;
    if (use === 'nvs') nvs.push(nvsOf(partition, bytes, problem, options.reveal));
    else files.push(filesOf(partition, bytes, problem));
  }
  return {
    ...{ firmware, boots: summary.activePartition, tableOffset, opaque: encrypted ? 'encryption' : null },
    ...{ partitions, parts: mapFlash(partitions, tableOffset, { sizeBytes, family }), nvs, files },
    problems: summary.problems.slice(0, MAX_PROBLEMS),
  };
}

function nvsOf(
  { name: partition, offset }: PartitionSummary,
  bytes: Buffer | null,
  problem: string | null,
  reveal: boolean,
): NvsInventory {
  if (bytes === null) return { partition, offset, state: null, namespaces: [], more: 0, problems: [`it ${problem}`] };
  const reading = readNvs(bytes);
  const byName = new Map<string, NvsKey[]>();
  for (const entry of reading.entries.slice(0, MOST_ENTRIES)) {
    const keys = byName.get(entry.namespace) ?? [];
    byName.set(entry.namespace, keys);
    keys.push({ key: entry.key, ...nvsValue(entry, reveal) });
  }
  return {
    ...{ partition, offset, state: reading.kind },
    namespaces: [...byName].map(([name, keys]) => ({ name, keys })),
    more: Math.max(0, reading.entries.length - MOST_ENTRIES),
    problems: reading.kind === 'plain' ? nvsProblems(reading) : reading.problems,
  };
}

function filesOf(
  { name: partition, offset }: PartitionSummary,
  bytes: Buffer | null,
  problem: string | null,
): FilesInventory {
  if (bytes === null) return { partition, offset, kind: null, entries: [], more: 0, problems: [`it ${problem}`] };
  const reading = readFileSystem(bytes);
  const entries = reading?.entries ?? [];
  return {
    ...{ partition, offset, kind: reading?.kind ?? null },
    entries: entries.slice(0, MOST_ENTRIES).map(({ path, isFolder, sizeBytes }) => ({
      path: path.slice(0, MAX_PATH_CHARACTERS),
      isFolder,
      sizeBytes,
    })),
    more: Math.max(0, entries.length - MOST_ENTRIES),
    problems: fileProblems(reading),
  };
}
