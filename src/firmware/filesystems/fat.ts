/**
 * FAT12, FAT16 and FAT32 as boards with ESP-IDF (FatFs) keep it in flash, with or without the wear levelling layer under it.
 * Pure, and bounded on every input: each cluster is walked through once, whatever the chains say.
 */

import { printable } from '../../printable.ts';
import { Problems } from '../problems.ts';
import { slotsOfFolder, type FatSlot } from './fat-folder.ts';
import { clusterAfter, clusterAt, findFatVolume, problemsOfVolume, type FatVolume } from './fat-volume.ts';
import type { FileContent, FileEntry, FileSystemReading } from './filesystem.ts';
import { finishSafeWrite, withoutWearLevelling } from './wear-levelling.ts';

/** Bounds the memory for hostile volumes; FatFs takes no longer paths than 255 and one more for each file system. */
const MAX_PATH_UNITS = 1024;
const MAX_ENTRIES = 100_000;

/**
 * The FAT volume in `partition`, or undefined where there is none: blank, encrypted, another file system.
 *
 * Short names above ASCII are taken for code page 437, ESP-IDF's default. The volume label is no file.
 */
export function readFat(partition: Uint8Array): FileSystemReading | undefined {
  const bytes = Buffer.from(partition.buffer, partition.byteOffset, partition.length);
  const levelled = withoutWearLevelling(bytes);
  if (levelled !== undefined && levelled.volume === null) {
    return { kind: 'fat', entries: [], problems: [levelled.problem], readFile: () => missing() };
  }
  const volume = findFatVolume(levelled?.volume ?? bytes);
  if (volume === undefined) return undefined;
  const problems = new Problems();
  if (levelled !== undefined && finishSafeWrite(levelled.volume, volume.sectorBytes, volume.sizeBytes)) {
    problems.add(
      'a write was cut off: at its next start the board puts back what it has copied aside, and shows the rest as blank',
    );
  }
  for (const problem of problemsOfVolume(volume)) problems.add(problem);

  const scan = new Scan(volume, problems);
  scan.run();
  return {
    kind: 'fat',
    entries: scan.entries(),
    problems: problems.list(),
    readFile: (path) => contentOf(volume, scan.found.get(path)),
  };
}

interface Found extends FileEntry {
  readonly firstCluster: number;
  /** Why its content cannot be had; for a file whose clusters another one claims too, known only later. */
  problem: string | null;
}

class Scan {
  readonly found = new Map<string, Found>();
  readonly #volume: FatVolume;
  readonly #problems: Problems;
  /** Whose a cluster is. */
  readonly #owners = new Map<number, Found>();
  readonly #folders: { readonly path: string; readonly slots: Buffer }[] = [];

  constructor(volume: FatVolume, problems: Problems) {
    this.#volume = volume;
    this.#problems = problems;
  }

  run(): void {
    let seen = 0;
    this.#addRoot();
    for (let folder = this.#folders.pop(); folder !== undefined; folder = this.#folders.pop()) {
      for (const slot of slotsOfFolder(folder.slots)) {
        if (seen === MAX_ENTRIES) {
          this.#problems.add(`espd has stopped after ${MAX_ENTRIES} entries`);
          return;
        }
        seen += 1;
        this.#add(folder.path, slot);
      }
    }
  }

  entries(): FileEntry[] {
    const entries = [...this.found.values()].map(({ path, sizeBytes, isFolder }) => ({ path, sizeBytes, isFolder }));
    return entries.sort((a, b) => (a.path < b.path ? -1 : 1));
  }

  #addRoot(): void {
    const { root, bytes } = this.#volume;
    if ('cluster' in root) {
      const folder: Found = { path: '/', sizeBytes: 0, isFolder: true, firstCluster: root.cluster, problem: null };
      this.#folders.push({ path: '', slots: this.#contentOfFolder(folder) });
    } else {
      this.#folders.push({ path: '', slots: bytes.subarray(root.offset, root.offset + root.sizeBytes) });
    }
  }

  #add(folder: string, slot: FatSlot): void {
    const path = `${folder}/${slot.name}`;
    const title = `"${printable(path)}"`;
    if (slot.name === '' || slot.name === '.' || slot.name === '..' || /[/\0]/.test(slot.name)) {
      this.#problems.add(`${title} is no name of a file`);
      return;
    }
    if (path.length > MAX_PATH_UNITS) {
      this.#problems.add(`${title} lies too deep`);
      return;
    }
    if (slot.hasStrayLongName) this.#problems.add(`${title} has a broken long name`);
    if (this.found.has(path)) {
      this.#problems.add(`${title} is there twice`);
      return;
    }
    const { isFolder } = slot;
    // FatFs takes the upper half of the number only where it is there by definition.
    const firstCluster = this.#volume.entryBits === 32 ? slot.firstCluster : slot.firstCluster & 0xffff;
    const found: Found = { path, isFolder, firstCluster, sizeBytes: isFolder ? 0 : slot.sizeBytes, problem: null };
    this.found.set(path, found);
    if (isFolder) this.#folders.push({ path, slots: this.#contentOfFolder(found) });
    else this.#claimFile(found);
  }

  #contentOfFolder(folder: Found): Buffer {
    const clusters = this.#claim(folder);
    return Buffer.concat(clusters.flatMap((cluster) => clusterAt(this.#volume, cluster) ?? []));
  }

  #claimFile(file: Found): void {
    // A file may have more clusters than its size needs: FatFs writes the size last.
    const clusters = file.firstCluster === 0 ? 0 : this.#claim(file).length;
    if (file.problem === null && clusters * this.#volume.clusterBytes < file.sizeBytes) {
      this.#damaged(file, `has clusters for ${clusters * this.#volume.clusterBytes} of its ${file.sizeBytes} bytes`);
    }
  }

  /** The clusters of a chain as far as it is sound; what is not becomes the problem of `owner`. */
  #claim(owner: Found): number[] {
    const clusters: number[] = [];
    let cluster = owner.firstCluster;
    for (;;) {
      if (clusterAt(this.#volume, cluster) === null) {
        this.#damaged(owner, `goes on in cluster ${cluster}, which is not there`);
        return clusters;
      }
      const other = this.#owners.get(cluster);
      if (other === owner) {
        this.#damaged(owner, `has a chain of clusters that comes back to cluster ${cluster}`);
        return clusters;
      }
      if (other !== undefined) {
        this.#damaged(owner, `shares cluster ${cluster} with "${printable(other.path)}"`);
        other.problem ??= `it shares cluster ${cluster} with "${printable(owner.path)}"`;
        return clusters;
      }
      this.#owners.set(cluster, owner);
      clusters.push(cluster);
      const next = clusterAfter(this.#volume, cluster);
      if (next === 'end') return clusters;
      if (next === 'broken') {
        this.#damaged(owner, `has a chain of clusters that breaks off after cluster ${cluster}`);
        return clusters;
      }
      cluster = next;
    }
  }

  #damaged(found: Found, what: string): void {
    found.problem ??= `it ${what}`;
    this.#problems.add(`"${printable(found.path)}" ${what}`);
  }
}

function missing(): FileContent {
  return { bytes: null, problem: 'there is no such file' };
}

function contentOf(volume: FatVolume, found: Found | undefined): FileContent {
  if (found === undefined) return missing();
  if (found.isFolder) return { bytes: null, problem: 'it is a folder' };
  if (found.problem !== null) return { bytes: null, problem: found.problem };
  // The chain was walked through and found long enough, without a circle.
  const bytes = Buffer.alloc(found.sizeBytes);
  let cluster = found.firstCluster;
  for (let at = 0; at < bytes.length; at += volume.clusterBytes) {
    clusterAt(volume, cluster)?.copy(bytes, at);
    const next = clusterAfter(volume, cluster);
    cluster = typeof next === 'number' ? next : 0;
  }
  return { bytes, problem: null };
}
