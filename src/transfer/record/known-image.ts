/**
 * What a recording tells of an image that espd had: of each sector what a packet of the same bytes would be told as, so
 * that a replay knows where flash and image were equal, and no more. The partition table stands as it is: it says where
 * espd looks first, and holds no secret.
 */

import type { Backup, ImageReader } from '../../archive/types.ts';
import { UNIFORM_BYTES } from '../../archive/uniform.ts';
import { describeFirmware } from '../../firmware/index.ts';
import { SECTOR_BYTES } from '../../flash.ts';
import type { KnownLine, SectorsLine } from './format.ts';
import { tagOf, toldEfuses } from './secrets.ts';

/** Read at a time; between two such pieces others have their turn. */
const PIECE_SECTORS = 16;
/** What ESP-IDF keeps of a sector for its table; the rest of the sector is not its. */
const TABLE_BYTES = 0xc00;

type Untimed<L> = Omit<L, 't'>;

export interface KnownImageFacts {
  /** From 1 on. */
  readonly number: number;
  readonly role: KnownLine['role'];
  readonly key: Buffer;
  /** Its bytes instead of tags. */
  readonly reveal: boolean;
}

/** @throws what the reader throws */
export async function knownLine(
  { mac, manifest }: Backup,
  image: ImageReader,
  { number, role, key, reveal }: KnownImageFacts,
): Promise<Untimed<KnownLine>> {
  const { sizeBytes } = image;
  const { chip, flash, security, confirmed, contents, efuses } = manifest;
  const { md5 } = manifest.image;
  const { tableOffset } = await describeFirmware((at, length) => image.read(at, length), sizeBytes, chip.family);
  const hasTable = tableOffset !== null && tableOffset + TABLE_BYTES <= sizeBytes;
  const table = hasTable
    ? { at: tableOffset, hex: (await image.read(tableOffset, TABLE_BYTES)).toString('hex') }
    : null;
  return {
    ...{ dir: 'host', kind: 'known', image: number, role, mac, sizeBytes, chip, flash, security },
    efuses: toldEfuses(chip.family, efuses, reveal),
    ...(reveal ? {} : { digestTags: [Buffer.from(md5, 'hex'), Buffer.from(md5)].map((body) => tagOf(key, body)) }),
    ...{ confirmed: confirmed !== null, partitions: contents.partitions, table },
  };
}

/** @throws what the reader throws */
export async function* sectorLines(
  image: ImageReader,
  { number, key, reveal }: Omit<KnownImageFacts, 'role'>,
): AsyncGenerator<Untimed<SectorsLine>> {
  const { sizeBytes } = image;
  const pieceBytes = PIECE_SECTORS * SECTOR_BYTES;
  for (let at = 0; at < sizeBytes; at += pieceBytes) {
    const bytes = await image.read(at, Math.min(pieceBytes, sizeBytes - at));
    const sectors: (number | string)[] = [];
    for (let start = 0; start + SECTOR_BYTES <= bytes.length; start += SECTOR_BYTES) {
      const sector = bytes.subarray(start, start + SECTOR_BYTES);
      const fill = UNIFORM_BYTES.find((byte) => sector.every((one) => one === byte));
      sectors.push(fill ?? (reveal ? sector.toString('hex') : tagOf(key, sector)));
    }
    yield { dir: 'host', kind: 'sectors', image: number, from: at / SECTOR_BYTES, sectors };
  }
}
