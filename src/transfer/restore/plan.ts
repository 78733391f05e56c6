/** What a restore is going to do, told before it does anything. Nothing but a look at some of the image. */

import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import { BLOCK_BYTES, type Region, SECTOR_BYTES } from '../../flash.ts';
import type { ChipChange } from '../../archive/chip-change.ts';
import type { HalfRestored } from '../../archive/restore-record.ts';
import type { Backup, ImageReader } from '../../archive/types.ts';
import type { FlashFacts } from '../../esp/board.ts';
import {
  type BoundPlace,
  type FirmwareSummary,
  type FlashPart,
  type PartShare,
  boundToMac,
  sharesOf,
} from '../../firmware/index.ts';
import type { Mac } from '../../mac.ts';
import { overlap } from '../flash-compare.ts';
import { writeProtectionOf } from './guards.ts';
import type { Kept } from './keep.ts';
import { originOf } from './unconfirmed.ts';
import type { NamedRegion } from './parts.ts';
import type { Session } from '../session.ts';

const deflateAsync = promisify(deflate);

export interface RestorePlan {
  /** Regions that differ, whole sectors, in order. */
  readonly regions: readonly Region[];
  readonly sectors: number;
  readonly bytes: number;
  /** The same by partition, and what lies outside any. */
  readonly parts: readonly PartShare[];
  /** What the restore is confined to; null = the whole flash. */
  readonly scope: readonly NamedRegion[] | null;
  /** Partitions of the board that stay as they are, and remarks about it. */
  readonly kept: Kept;
  readonly backup: {
    readonly mac: Mac;
    readonly id: string;
    readonly createdAt: string;
    readonly ageSeconds: number;
    /** Why this one: `latest of 5`. */
    readonly why: string;
    readonly chip: string;
    readonly firmware: { readonly name: string; readonly version: string | null; readonly sdk: string | null } | null;
    readonly sizeBytes: number;
    /** A chip has confirmed the image, when it was made or later. */
    readonly confirmed: boolean;
  };
  readonly board: { readonly mac: Mac; readonly chip: string; readonly revision: string; readonly port: string };
  readonly estimate: Estimate;
  /** Sentences for people, without a full stop. */
  readonly risks: readonly string[];
  readonly snapshot: SnapshotPlan;
  /** An earlier restore of this board has not ended; `snapshot`: the backup of what was there before that, if known. */
  readonly halfRestored: { readonly snapshot: string | null } | null;
  /** What in the image belongs to the board that it was taken from; empty on that board. */
  readonly boundToMac: readonly BoundPlace[];
  /** Where it is noted that the restore has begun, while the archive is read-only; null = in the archive. */
  readonly recordFolder: string | null;
}

/**
 * `made`: what is on the board is backed up first. `exists`: backup `id` holds it already. `none`: the person does not
 * want one, or there is nothing worth keeping: a blank flash, or half of two images.
 */
export type SnapshotPlan =
  | { readonly kind: 'made' }
  | { readonly kind: 'exists'; readonly id: string }
  | { readonly kind: 'none'; readonly because: 'blank' | 'not-wanted' | 'half-restored' | 'nothing-to-write' };

export interface Estimate {
  /** Of writing and proving; the snapshot is not in it. */
  readonly seconds: number;
  readonly eraseSeconds: number;
  readonly programSeconds: number;
  readonly lineSeconds: number;
  readonly verifySeconds: number;
  readonly wireBytes: number;
}

const PAGE_BYTES = 256;
/** Winbond W25Q32JV data sheet, AC characteristics, typical: tSE, tBE2, tPP. Others are within a factor of two. */
const ERASE_SECTOR_SECONDS = 0.045;
const ERASE_BLOCK_SECONDS = 0.15;
const PROGRAM_PAGE_SECONDS = 0.0004;
/** Round trip and headers of one piece; a guess that fits USB bridges with their 1 to 16 ms of latency. */
const PIECE_SECONDS = 0.05;

export interface PlanFacts {
  readonly session: Session;
  readonly backup: Backup;
  readonly why: string;
  readonly image: ImageReader;
  readonly flash: FlashFacts;
  /** What says that the board is another chip than the backup of its MAC; null where nothing does. */
  readonly change: ChipChange | null;
  readonly contents: FirmwareSummary;
  /** Set where an earlier restore of this board has not ended. */
  readonly half: HalfRestored | null;
  readonly regions: readonly Region[];
  readonly parts: readonly FlashPart[];
  readonly scope: readonly NamedRegion[] | null;
  readonly kept: Kept;
  /** What is written at most; null = the whole image. */
  readonly written: readonly Region[] | null;
  readonly snapshot: SnapshotPlan;
  /** The flash's status register. */
  readonly status: number | undefined;
  /** What the chip took to hash its whole flash. */
  readonly digestSeconds: number;
  readonly confirmed: boolean;
  readonly recordFolder: string | null;
}

export async function makePlan(facts: PlanFacts): Promise<RestorePlan> {
  const { session, backup, image, flash, contents, regions, scope, snapshot } = facts;
  const { board, options, port } = session;
  const { identity } = board;
  const { manifest } = backup;
  const parts = sharesOf(facts.parts, regions);
  const bytes = regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const isOtherBoard = identity.mac !== backup.mac;
  const bound = isOtherBoard ? await boundParts(facts) : [];
  // The plan is made at the rate of connecting, the writing done at the one that the line is expected to hold.
  const lineMs = (wireBytes: number) => board.costs.readMs(wireBytes);
  const ids = { image: idOf(manifest.flash), board: idOf(flash) };
  return {
    regions,
    sectors: bytes / SECTOR_BYTES,
    bytes,
    parts,
    scope,
    kept: facts.kept,
    backup: {
      mac: backup.mac,
      id: backup.id,
      createdAt: manifest.createdAt,
      ageSeconds: Math.max(0, Math.round((options.clock.date().getTime() - Date.parse(manifest.createdAt)) / 1000)),
      why: facts.why,
      chip: manifest.chip.name,
      firmware: contents.firmware,
      sizeBytes: manifest.image.sizeBytes,
      confirmed: facts.confirmed,
    },
    board: { mac: identity.mac, chip: identity.chipName, revision: identity.revision, port: port.address },
    estimate: estimateOf(regions, await compressedShare(image, regions), lineMs, facts.digestSeconds),
    risks: risksOf({
      parts,
      contents,
      scope,
      kept: facts.kept.parts,
      snapshot,
      boundToMac: bound,
      isOtherBoard,
      unconfirmed: facts.confirmed ? null : originOf(backup),
      isProtected: writeProtectionOf(facts.status) !== null,
      otherChip: facts.change?.kind === 'chip' ? facts.change.details : null,
      otherFlashId:
        ids.image === null || ids.board === null || ids.image === ids.board
          ? null
          : { image: ids.image, board: ids.board },
      recordFolder: regions.length === 0 ? null : facts.recordFolder,
      isSizeTold: { image: manifest.flash.sizeFrom === 'person', board: flash.sizeFrom === 'person' },
    }),
    recordFolder: facts.recordFolder,
    snapshot,
    halfRestored: facts.half === null ? null : { snapshot: facts.half.record?.snapshot ?? null },
    boundToMac: bound,
  };
}

/** What of the parts that are restored belongs to the board that the image was taken from. */
function boundParts({ image, parts, written, backup }: PlanFacts): Promise<BoundPlace[]> {
  const whole = { offset: 0, sizeBytes: image.sizeBytes };
  const restored = parts.flatMap((part) =>
    (written ?? [whole]).flatMap((region) => {
      const common = overlap(part, region);
      return common === undefined ? [] : [{ ...part, ...common }];
    }),
  );
  return boundToMac((offset, length) => image.read(offset, length), restored, backup.mac);
}

/** Null where no chip was asked for it. */
function idOf({ manufacturer, device }: { manufacturer: string | null; device: string | null }): string | null {
  return manufacturer === null || device === null ? null : `${manufacturer} ${device}`;
}

/**
 * @param compressed bytes on the wire for each byte of flash
 * @param lineMs how long the line takes for so many bytes, in milliseconds
 * @param verifySeconds what the chip took for the digest of the whole
 */
export function estimateOf(
  regions: readonly Region[],
  compressed: number,
  lineMs: (wireBytes: number) => number,
  verifySeconds: number,
): Estimate {
  let eraseSeconds = 0;
  let bytes = 0;
  for (const { offset, sizeBytes } of regions) {
    const end = offset + sizeBytes;
    bytes += sizeBytes;
    for (let at = offset; at < end;) {
      const isBlock = at % BLOCK_BYTES === 0 && end - at >= BLOCK_BYTES;
      eraseSeconds += isBlock ? ERASE_BLOCK_SECONDS : ERASE_SECTOR_SECONDS;
      at += isBlock ? BLOCK_BYTES : SECTOR_BYTES;
    }
  }
  const programSeconds = (bytes / PAGE_BYTES) * PROGRAM_PAGE_SECONDS;
  const wireBytes = Math.ceil(bytes * compressed);
  const lineSeconds = wireBytes === 0 ? 0 : lineMs(wireBytes) / 1000 + regions.length * PIECE_SECONDS;
  // The stub takes the next block in while it works on the one before.
  const seconds = Math.max(eraseSeconds + programSeconds, lineSeconds) + verifySeconds;
  return { seconds, eraseSeconds, programSeconds, lineSeconds, verifySeconds, wireBytes };
}

const SAMPLE_BYTES = 16 * 1024;
const SAMPLES = 16;

/** How well what is to be written compresses, by samples: bytes on the wire for each byte of flash, 0 to 1 or a little more. */
export async function compressedShare(image: ImageReader, regions: readonly Region[]): Promise<number> {
  const total = regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const step = Math.max(SAMPLE_BYTES, Math.ceil(total / SAMPLES));
  let [read, packed, skipped] = [0, 0, 0];
  for (const { offset, sizeBytes } of regions) {
    for (let at = offset + skipped; at < offset + sizeBytes; at += step) {
      const bytes = await image.read(at, Math.min(SAMPLE_BYTES, offset + sizeBytes - at));
      read += bytes.length;
      packed += (await deflateAsync(bytes, { level: 1 })).length;
    }
    skipped = Math.max(0, skipped + Math.ceil((sizeBytes - skipped) / step) * step - sizeBytes);
  }
  return read === 0 ? 1 : packed / read;
}

export interface RiskFacts {
  readonly parts: readonly PartShare[];
  readonly contents: FirmwareSummary;
  readonly scope: readonly NamedRegion[] | null;
  readonly kept: readonly NamedRegion[];
  readonly snapshot: SnapshotPlan;
  readonly boundToMac: readonly BoundPlace[];
  readonly isOtherBoard: boolean;
  /** Where the image comes from, a fragment, where no chip has confirmed it; else null. */
  readonly unconfirmed: string | null;
  /** The flash's block protection is on, and the loader takes it off. */
  readonly isProtected: boolean;
  /** What says that the board is another chip with the same MAC; null where nothing does. */
  readonly otherChip: readonly string[] | null;
  /** Ids of the flash chip then and now, where they differ. */
  readonly otherFlashId: { readonly image: string; readonly board: string } | null;
  readonly recordFolder: string | null;
  /** A person has told the size of the flash, then and now: its id says nothing. */
  readonly isSizeTold: { readonly image: boolean; readonly board: boolean };
}

/** Subtypes of what an app keeps for its owner: of ESP-IDF's partitions, and of an ESP8266's areas. */
const SETTINGS = [
  ...['nvs', 'nvs_keys', 'fat', 'spiffs', 'littlefs', 'undefined'],
  ...['system_param', 'eeprom', 'tasmota'],
];

/** What somebody who is about to say yes should know, the weightiest first. */
export function risksOf(facts: RiskFacts): string[] {
  const { parts, contents, scope, snapshot, boundToMac, isOtherBoard } = facts;
  const risks: string[] = [];
  if (parts.length === 0) return risks;
  if (facts.unconfirmed !== null) {
    risks.push(`No chip has confirmed this image: ${facts.unconfirmed}. Nobody knows whether it is whole`);
  }
  if (parts.some(({ kind }) => kind === 'bootloader' || kind === 'partition-table') || writesEsp8266Boot(parts)) {
    risks.push('If the power fails in between, the board does not start until the restore is finished');
  }
  const apps = parts.filter(({ type }) => type === 'app').map(({ name }) => name);
  if (apps.length > 0) risks.push(`The app is replaced${firmwareText(contents)}: ${apps.join(', ')}`);
  if (parts.some(({ subtype }) => subtype === 'ota')) {
    const active = contents.activePartition;
    risks.push(`Which app starts changes${active === null ? '' : `: to ${active}`} (OTA selection)`);
  }
  const settings = namesOf(parts, SETTINGS);
  if (settings.length > 0) {
    risks.push(
      `Settings and files on the board (such as Wi-Fi and pairings) go back to those of the image: ${settings.join(', ')}`,
    );
  }
  const unnamed = parts.filter(({ kind }) => kind === 'gap').map(({ from, to }) => `${hex(from)} to ${hex(to)}`);
  if (unnamed.length > 0) {
    risks.push(
      `What is outside every partition (perhaps a file system) goes back to that of the image: ${unnamed.join(', ')}`,
    );
  }
  const calibration = namesOf(parts, ['phy', 'rf_cal']);
  if (calibration.length > 0) risks.push(`Radio calibration goes back to that of the image: ${calibration.join(', ')}`);
  if (isOtherBoard && boundToMac.length > 0) {
    risks.push('Parts of the image belong to the board that it was read from, and may not fit this one');
  }
  if (scope !== null) risks.push('The rest of the flash stays as it is: it may not fit this part');
  if (facts.kept.length > 0) {
    const names = facts.kept.map(({ name }) => name ?? '').join(', ');
    risks.push(`What stays as it is may not fit the rest of the image: ${names}`);
  }
  if (facts.isProtected) risks.push('The block protection of the flash is on; the flasher switches it off');
  if (facts.otherChip !== null) {
    risks.push(`The board is another chip with the same MAC (${facts.otherChip.join('; ')})`);
  }
  if (facts.otherFlashId !== null) {
    const { image, board } = facts.otherFlashId;
    risks.push(`The board has another flash chip than the image was read from (${board}, was ${image})`);
  }
  const told = [facts.isSizeTold.image ? 'the backup' : '', facts.isSizeTold.board ? 'the board' : ''].filter(Boolean);
  if (told.length > 0) {
    risks.push(
      `The flash size of ${told.join(' and of ')} is what a person said (--flash-size); the chip does not tell`,
    );
  }
  if (facts.recordFolder !== null) {
    risks.push(`The archive is read-only: if this is interrupted, only this user's espd knows (${facts.recordFolder})`);
  }
  if (snapshot.kind === 'none' && snapshot.because === 'not-wanted') {
    risks.push('What is on the board now is lost: no snapshot is made');
  }
  if (snapshot.kind === 'none' && snapshot.because === 'half-restored') {
    risks.push('What is on the board now is half of two images, and is not kept');
  }
  return risks;
}

/** The ESP8266's ROM runs what lies at 0, without a partition table. */
function writesEsp8266Boot(parts: readonly PartShare[]): boolean {
  return parts.some(({ subtype, offset }) => subtype.startsWith('image_v') && offset === 0);
}

function namesOf(parts: readonly PartShare[], subtypes: readonly string[]): string[] {
  return parts.filter(({ subtype }) => subtypes.includes(subtype)).map(({ name }) => name);
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

function firmwareText({ firmware }: FirmwareSummary): string {
  return firmware === null ? '' : ` by ${[firmware.name, firmware.version ?? ''].join(' ').trim()}`;
}
