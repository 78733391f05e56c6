/**
 * Partitions of the board that a restore leaves as they are: those that a person names, and those with the radio's
 * calibration, which belongs to one board.
 */

import type { RestoreRecord } from '../../archive/restore-record.ts';
import { EspdError } from '../../errors.ts';
import { hexAddress } from '../../esp/flash-read.ts';
import type { PartitionSummary } from '../../firmware/index.ts';
import { BLANK, uniformDigest } from '../../archive/uniform.ts';
import { type LayoutFacts, boardLayout, guardLayout, isAt, otherLayout } from './layout.ts';
import { type NamedRegion, partitionRegions } from './parts.ts';

/** What the person asked for. */
export interface KeepWish {
  /** Of partitions, by the table of the image. */
  readonly names: readonly string[];
  /** And those with the radio's calibration, where the board has its own. */
  readonly calibration: boolean;
}

export const KEEP_NOTHING: KeepWish = { names: [], calibration: false };

export interface Kept {
  /** In order, whole sectors, none twice. */
  readonly parts: readonly NamedRegion[];
  /** Sentences for people, without a full stop. */
  readonly notes: readonly string[];
}

export interface KeepFacts extends LayoutFacts {
  /** Of an interrupted restore of the same backup; null for none. */
  readonly record: Pick<RestoreRecord, 'kept'> | null;
  /** The board is another one than the image was read from. */
  readonly isOtherBoard: boolean;
  /** The person keeps places as the image has them, wherever the board has its partitions. */
  readonly ignoresLayout: boolean;
}

/** The calibration itself, which only an ESP8266's SDK keeps in a sector of its own. */
const RF_CAL = 'rf_cal';
/**
 * Partitions (by ESP-IDF's subtype, or the areas of an ESP8266) that belong to the radio of one board; `phy` is PHY init
 * data on both. Blank, the two are not alike: with a blank `rf_cal`, which is how Espressif has it flashed, the SDK
 * calibrates ("ESP8266 SDK Getting Started Guide", download addresses: blank.bin initialises it); with a blank `phy` it
 * restarts without end (https://github.com/nodemcu/nodemcu-firmware/pull/1500), and so does an app of ESP-IDF that has its
 * init data there (`esp_phy_load_cal_and_init` in the file named below).
 */
const CALIBRATION = ['phy', RF_CAL];

/**
 * ESP-IDF keeps the calibration itself in NVS, namespace `phy`, beside everything else. With it stands the MAC that it is
 * of (`cal_mac`); an app that finds another one there calibrates anew (`load_cal_data_from_nvs_handle`):
 * https://github.com/espressif/esp-idf/blob/014fe1482bfca00d9c0c2bd12d890d246b7a694f/components/esp_phy/src/phy_init.c
 */
const NVS_NOTE =
  'The calibration in nvs comes from the image: it names the MAC that it is of, and on another board the app calibrates anew';

/**
 * What the restore leaves as it is. What an interrupted restore of this backup has kept is kept by the one that finishes
 * it, asked for or not, and whatever the board's table says by now: it may be half written.
 *
 * @throws EspdError `usage` for names that the image does not have, or that share sectors; `other-layout` where the board
 *   has the partition in another place; `half-restored` where the record of a restore keeps what the image does not have
 */
export async function keptParts(wish: KeepWish, facts: KeepFacts): Promise<Kept> {
  const { contents, image, record, ignoresLayout, isOtherBoard } = facts;
  const begun = record === null ? [] : begunWith(record, contents.partitions, image.sizeBytes);
  const isBegun = ({ name }: NamedRegion) => begun.some((part) => part.name === name);
  const asked = partitionRegions(wish.names, contents.partitions, image.sizeBytes).filter((part) => !isBegun(part));
  if (asked.length > 0 && !ignoresLayout) await guardLayout(facts, asked, 'keep');
  const notes: string[] = [];
  for (const part of asked) {
    if (await isBlank(part, facts)) notes.push(`${part.name ?? ''} is blank on the board, and stays blank`);
  }
  const names = [...begun, ...asked].map(({ name }) => name ?? '');
  // After an interruption it means what it meant: a place that was written since is no calibration of the board's.
  if (wish.calibration && record === null) {
    const own = await calibrationOf(facts);
    names.push(...own.names);
    notes.push(...own.notes);
    if (isOtherBoard && contents.partitions.some(({ subtype }) => subtype === 'nvs')) notes.push(NVS_NOTE);
  }
  return { parts: partitionRegions(names, contents.partitions, image.sizeBytes), notes };
}

function begunWith(
  { kept }: Pick<RestoreRecord, 'kept'>,
  partitions: readonly PartitionSummary[],
  imageBytes: number,
): NamedRegion[] {
  return kept.map(({ name, offset, sizeBytes }) => {
    const [found, second] = partitions.filter((partition) => partition.name === name);
    const part = found === undefined || second ? undefined : partitionRegions([name], partitions, imageBytes)[0];
    if (part?.offset === offset && part.sizeBytes === sizeBytes) return part;
    throw new EspdError('half-restored', `The interrupted restore keeps ${name}, which this image has not there`, {
      hint: 'Nothing was written. Restore the whole of another backup, or the snapshot that "espd show" names',
    });
  });
}

/** The partitions in which the board has its own. */
async function calibrationOf(facts: KeepFacts): Promise<{ names: string[]; notes: string[] }> {
  const { contents, image, ignoresLayout } = facts;
  const wanted = contents.partitions.filter(isCalibration);
  if (wanted.length === 0) {
    return { names: [], notes: ['The image has no partition for radio calibration: none is kept'] };
  }
  const subtypes = wanted.map(({ subtype }) => subtype);
  const layout = ignoresLayout ? 'same' : await boardLayout(facts, subtypes);
  const [names, notes]: [string[], string[]] = [[], []];
  for (const { name, subtype } of wanted) {
    const [region] = partitionRegions([name], contents.partitions, image.sizeBytes);
    if (region === undefined) continue;
    const isThere = layout === 'same' || layout.partitions.some((one) => one.name === name && isAt(one, region));
    if (await isBlank(region, facts)) {
      if (subtype === RF_CAL) names.push(name);
      notes.push(
        subtype === RF_CAL
          ? `${name} is blank on the board, and stays blank: the app calibrates when it starts`
          : `${name} is blank on the board, and gets what the image has`,
      );
    } else if (isThere) {
      names.push(name);
    } else {
      refuseOther(region, layout.partitions.find(isCalibration));
      notes.push(`The board has no ${name} of its own, and gets that of the image`);
    }
  }
  return { names, notes };
}

function isCalibration({ type, subtype }: PartitionSummary): boolean {
  return type === 'data' && CALIBRATION.includes(subtype);
}

/** @throws EspdError `other-layout` where the board has its own calibration, elsewhere */
function refuseOther({ name, offset }: NamedRegion, own: PartitionSummary | undefined): void {
  if (own === undefined) return;
  const theirs = `the board has its calibration (${own.name}) at ${hexAddress(own.offset)}`;
  throw otherLayout(`The image has ${name ?? ''} at ${hexAddress(offset)}, ${theirs}`, 'keep');
}

async function isBlank(region: NamedRegion, { ask }: KeepFacts): Promise<boolean> {
  return (await ask(region)) === uniformDigest(BLANK, region.sizeBytes);
}
