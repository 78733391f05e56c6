/**
 * A FAT volume below its folders: the boot sector, the allocation table and the clusters.
 *
 * "Microsoft Extensible Firmware Initiative FAT32 File System Specification" 1.03, and where boards differ from it, FatFs:
 * https://github.com/espressif/esp-idf/blob/102122904ade11fd1ae373848f34ffd7dfb18aeb/components/fatfs/src/ff.c (`check_fs`,
 * `mount_volume`)
 */

const SIGNATURE_OFFSET = 510;
const SIGNATURE = 0xaa55;
/** Short jump, near jump, near call. */
const JUMPS: ReadonlySet<number> = new Set([0xeb, 0xe9, 0xe8]);
const BOOT_SECTOR_BYTES = 512;
const SLOT_BYTES = 32;
/** FatFs: MAX_FAT12 and MAX_FAT16. */
const MAX_CLUSTERS_12 = 0xff5;
const MAX_CLUSTERS_16 = 0xfff5;

export interface FatVolume {
  readonly bytes: Buffer;
  readonly entryBits: 12 | 16 | 32;
  readonly sectorBytes: number;
  readonly clusterBytes: number;
  /** Of the data area, as the boot sector says; numbers run from 2. */
  readonly clusterCount: number;
  /** As the boot sector says; may be more than there are. */
  readonly sizeBytes: number;
  readonly fatOffset: number;
  /** Of one copy of the table. */
  readonly fatBytes: number;
  readonly fatCopies: number;
  readonly dataOffset: number;
  /** FAT12 and FAT16 have a place for it, FAT32 a first cluster. */
  readonly root: { readonly offset: number; readonly sizeBytes: number } | { readonly cluster: number };
}

/** The volume at the start of `bytes`, or of the first FAT partition of an MBR there; undefined where there is none. */
export function findFatVolume(bytes: Buffer): FatVolume | undefined {
  if (bytes.length < BOOT_SECTOR_BYTES || bytes.readUInt16LE(SIGNATURE_OFFSET) !== SIGNATURE) return undefined;
  const volume = parseBootSector(bytes);
  if (volume !== undefined) return volume;
  for (const offset of partitionsOfMbr(bytes)) {
    const found = parseBootSector(bytes.subarray(offset));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Types of partitions with FAT12, FAT16 and FAT32, by cylinders or blocks. */
const MBR_FAT_TYPES: ReadonlySet<number> = new Set([0x01, 0x04, 0x06, 0x0b, 0x0c, 0x0e]);

function partitionsOfMbr(bytes: Buffer): number[] {
  const offsets: number[] = [];
  for (let row = 446; row < SIGNATURE_OFFSET; row += 16) {
    if (!MBR_FAT_TYPES.has(bytes.readUInt8(row + 4))) continue;
    // The MBR does not say how large its sectors are.
    for (const sectorBytes of [512, 4096]) offsets.push(bytes.readUInt32LE(row + 8) * sectorBytes);
  }
  return offsets.filter((offset) => offset > 0 && offset + BOOT_SECTOR_BYTES <= bytes.length);
}

function parseBootSector(bytes: Buffer): FatVolume | undefined {
  if (!JUMPS.has(bytes.readUInt8(0)) || bytes.readUInt16LE(SIGNATURE_OFFSET) !== SIGNATURE) return undefined;
  const sectorBytes = bytes.readUInt16LE(11);
  const sectorsPerCluster = bytes.readUInt8(13);
  const reserved = bytes.readUInt16LE(14);
  const fatCopies = bytes.readUInt8(16);
  const rootSlots = bytes.readUInt16LE(17);
  const sectors = bytes.readUInt16LE(19) || bytes.readUInt32LE(32);
  const smallFat = bytes.readUInt16LE(22);
  const fatSectors = smallFat || bytes.readUInt32LE(36);
  if (!isPowerOfTwo(sectorBytes) || sectorBytes < 512 || sectorBytes > 4096) return undefined;
  if (!isPowerOfTwo(sectorsPerCluster) || reserved === 0 || (fatCopies !== 1 && fatCopies !== 2)) return undefined;
  if (fatSectors === 0 || (smallFat === 0) !== (rootSlots === 0)) return undefined;

  const rootSectors = Math.ceil((rootSlots * SLOT_BYTES) / sectorBytes);
  const rootSector = reserved + fatCopies * fatSectors;
  const clusterCount = Math.floor((sectors - rootSector - rootSectors) / sectorsPerCluster);
  if (clusterCount < 1) return undefined;
  const entryBits = smallFat === 0 ? 32 : clusterCount <= MAX_CLUSTERS_12 ? 12 : 16;
  if (entryBits === 16 && clusterCount > MAX_CLUSTERS_16) return undefined;
  return {
    bytes,
    entryBits,
    sectorBytes,
    clusterBytes: sectorBytes * sectorsPerCluster,
    clusterCount,
    sizeBytes: sectors * sectorBytes,
    fatOffset: reserved * sectorBytes,
    fatBytes: fatSectors * sectorBytes,
    fatCopies,
    dataOffset: (rootSector + rootSectors) * sectorBytes,
    root:
      entryBits === 32
        ? { cluster: bytes.readUInt32LE(44) }
        : { offset: rootSector * sectorBytes, sizeBytes: rootSlots * SLOT_BYTES },
  };
}

function isPowerOfTwo(value: number): boolean {
  return value > 0 && (value & (value - 1)) === 0;
}

/** What is wrong with the volume as a whole. */
export function problemsOfVolume(volume: FatVolume): string[] {
  const problems: string[] = [];
  const { bytes, sizeBytes, fatOffset, fatBytes, fatCopies, entryBits, clusterCount } = volume;
  if (sizeBytes > bytes.length)
    problems.push(`the volume of ${sizeBytes} bytes does not fit the ${bytes.length} there are`);
  if (((clusterCount + 2) * entryBits) / 8 > fatBytes)
    problems.push('the allocation table is too small for the volume');
  if (fatCopies === 2) {
    const [first, second] = [0, 1].map((copy) =>
      bytes.subarray(fatOffset + copy * fatBytes, fatOffset + (copy + 1) * fatBytes),
    );
    if (first !== undefined && second !== undefined && !first.equals(second)) {
      problems.push('the two copies of the allocation table differ; boards use the first');
    }
  }
  return problems;
}

/** The bytes of a cluster, or null where it has none in this volume. */
export function clusterAt(
  { bytes, dataOffset, clusterBytes, clusterCount }: FatVolume,
  cluster: number,
): Buffer | null {
  if (cluster < 2 || cluster >= clusterCount + 2) return null;
  const offset = dataOffset + (cluster - 2) * clusterBytes;
  return offset + clusterBytes <= bytes.length ? bytes.subarray(offset, offset + clusterBytes) : null;
}

/** What follows `cluster` in its chain; `broken` for a free or bad one, and where the table ends before. */
export function clusterAfter(volume: FatVolume, cluster: number): number | 'end' | 'broken' {
  const value = tableEntry(volume, cluster);
  const last = volume.entryBits === 32 ? 0x0fffffff : 2 ** volume.entryBits - 1;
  if (value === null || value < 2) return 'broken';
  // The highest eight mean the end, the one below them a bad cluster.
  if (value >= last - 7) return 'end';
  return value === last - 8 ? 'broken' : value;
}

function tableEntry({ bytes, fatOffset, fatBytes, entryBits }: FatVolume, cluster: number): number | null {
  const table = bytes.subarray(fatOffset, fatOffset + fatBytes);
  const offset = Math.floor((cluster * entryBits) / 8);
  if (offset + Math.ceil(entryBits / 8) > table.length) return null;
  if (entryBits === 32) return table.readUInt32LE(offset) & 0x0fffffff;
  const pair = table.readUInt16LE(offset);
  if (entryBits === 16) return pair;
  // Two entries of 12 bits share three bytes.
  return cluster % 2 === 0 ? pair & 0xfff : pair >>> 4;
}
