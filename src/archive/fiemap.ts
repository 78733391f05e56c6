/**
 * Which parts of a file lie in blocks that other files use as well (reflinks): the ioctl FIEMAP of Linux, by koffi. It
 * only reads. https://docs.kernel.org/filesystems/fiemap.html, include/uapi/linux/fiemap.h
 */

import type { Extent } from './shared-bytes.ts';

/** FS_IOC_FIEMAP, _IOWR('f', 11, struct fiemap); the numbers of _IOC are the same on these architectures. */
const FS_IOC_FIEMAP = 0xc020660b;
const ARCHITECTURES = ['x64', 'arm64', 'arm', 'ia32', 'riscv64', 'loong64'];

/** struct fiemap without its extents, and struct fiemap_extent. */
const HEADER_BYTES = 32;
const EXTENT_BYTES = 56;
/** Extents asked for at a time. */
const AT_A_TIME = 128;
/** A file of 128 MiB in extents of a block each, several times over: no file system makes this loop run on. */
const MAX_ROUNDS = 1024;

const LAST = 0x1;
/** UNKNOWN, DELALLOC, ENCODED: where the extent lies, or how long it is there, is not told. */
const UNCLEAR = 0x2 | 0x4 | 0x8;
const SHARED = 0x2000;

type Ioctl = (fd: number, argument: Buffer) => Promise<boolean>;

let loading: Promise<Ioctl | undefined> | undefined;

/** The extents of an open file that it shares; null where the system does not tell. Never rejects. */
export async function sharedExtents(fd: number): Promise<readonly Extent[] | null> {
  loading ??= load().catch(() => undefined);
  const ioctl = await loading;
  if (ioctl === undefined) return null;
  const extents: Extent[] = [];
  let start = 0n;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const map = Buffer.alloc(HEADER_BYTES + AT_A_TIME * EXTENT_BYTES);
    map.writeBigUInt64LE(start, 0);
    map.writeBigUInt64LE(0xffff_ffff_ffff_ffffn - start, 8);
    map.writeUInt32LE(AT_A_TIME, 24);
    if (!(await ioctl(fd, map))) return null;
    const { found, next } = parseMap(map);
    extents.push(...found);
    if (next === null) return extents;
    start = next;
  }
  return null;
}

/** @returns `next`: where to ask on; null at the end of the file */
export function parseMap(map: Buffer): { found: Extent[]; next: bigint | null } {
  const count = Math.min(map.readUInt32LE(20), Math.floor((map.length - HEADER_BYTES) / EXTENT_BYTES));
  const found: Extent[] = [];
  let next: bigint | null = null;
  for (let index = 0; index < count; index++) {
    const at = HEADER_BYTES + index * EXTENT_BYTES;
    const [logical, physical, length] = [0, 8, 16].map((field) => map.readBigUInt64LE(at + field));
    const flags = map.readUInt32LE(at + 40);
    if ((flags & SHARED) !== 0 && (flags & UNCLEAR) === 0)
      found.push({ offset: Number(physical), sizeBytes: Number(length) });
    next = (flags & LAST) !== 0 ? null : (logical ?? 0n) + (length ?? 0n);
  }
  return { found, next };
}

async function load(): Promise<Ioctl | undefined> {
  if (process.platform !== 'linux' || !ARCHITECTURES.includes(process.arch)) return undefined;
  const { default: koffi } = await import('koffi');
  // Declared without "...": koffi cannot make variadic calls in the background, and on Linux both are called alike.
  const ioctl = koffi.load(null).func('int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)');
  return (fd, argument) =>
    new Promise((resolve) => {
      ioctl.async(fd, FS_IOC_FIEMAP, argument, (error: Error | null, result: unknown) => {
        resolve(error === null && result === 0);
      });
    });
}
