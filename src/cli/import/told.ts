/**
 * Of which board a dump is, of which chip, and when it was read: by what a person says, by the file's name, by what is
 * known of the board. Pure. What is not certain is asked for, because a restore and the retention go by it.
 */

import { EspdError } from '../../errors.ts';
import { IMAGE_FAMILIES } from '../../firmware/image.ts';
import { datesInName, macsInName } from '../../firmware/dump/file-name.ts';
import type { Mac } from '../../mac.ts';

/**
 * @param name of the dump, printable
 * @param fileNames without folders
 * @throws EspdError `import-unclear`
 */
export function macOfDump(name: string, fileNames: readonly string[], told: Mac | undefined): Mac {
  if (told !== undefined) return told;
  const macs = [...new Set(fileNames.flatMap(macsInName))];
  const [mac] = macs;
  if (mac !== undefined && macs.length === 1) return mac;
  if (mac === undefined) {
    throw new EspdError('import-unclear', `Of which board ${name} is does not stand in its name`, {
      hint: 'Name the board: --mac 50:02:91:c3:37:a5',
    });
  }
  throw new EspdError('import-unclear', `${name} names ${macs.length} boards: ${macs.slice(0, 3).join(', ')}`, {
    hint: `Say which one it is: --mac ${mac}`,
  });
}

export interface DumpDate {
  readonly at: Date;
  /** `file`: only the time stamp of the file says so, which copying changes. */
  readonly from: 'told' | 'name' | 'file';
}

/**
 * When the dump was read.
 *
 * @param modifiedAt time stamp of the newest of its files
 * @param newestOfChip when the newest backup was made that a chip has confirmed; undefined for none. A dump is newer only
 *   if a person or its name says so: a time stamp may be that of a copy, and what is taken for the newest is restored
 * @throws EspdError `import-unclear`; `usage` for a told time that has not come yet
 */
export function dateOfDump(facts: {
  readonly name: string;
  readonly fileNames: readonly string[];
  readonly modifiedAt: Date;
  readonly told: Date | undefined;
  readonly now: Date;
  readonly newestOfChip: Date | undefined;
}): DumpDate {
  const { name, told, now, modifiedAt, newestOfChip } = facts;
  if (told !== undefined) {
    if (told > now) {
      throw new EspdError('usage', `${told.toISOString()} has not come yet`, {
        hint: 'Say with --at when the flash was read; if this clock is wrong, set it',
      });
    }
    return { at: told, from: 'told' };
  }
  const dates = new Map(facts.fileNames.flatMap(datesInName).map((date) => [date.getTime(), date]));
  if (dates.size > 1) {
    throw new EspdError('import-unclear', `${name} names ${dates.size} dates`, {
      hint: 'Say when the flash was read: --at 2024-01-02',
    });
  }
  const [named] = dates.values();
  if (named !== undefined && named <= now) return { at: named, from: 'name' };
  const stamp = modifiedAt.toISOString().slice(0, 10);
  if (modifiedAt > now || modifiedAt.getTime() < EARLIEST_MS) {
    throw new EspdError('import-unclear', `When ${name} was read is not known: its time stamp says ${stamp}`, {
      hint: 'Say it: --at 2024-01-02',
    });
  }
  if (newestOfChip !== undefined && modifiedAt >= newestOfChip) {
    throw new EspdError(
      'import-unclear',
      `Whether ${name} is newer than the newest backup must be told: its time stamp says ${stamp}, and may be that of a copy`,
      { hint: `Say when the flash was read: --at ${stamp}, if that is right` },
    );
  }
  return { at: modifiedAt, from: 'file' };
}

/** No chip of Espressif's that espd knows was sold before; a file from 1970 has lost its time stamp. */
const EARLIEST_MS = Date.UTC(2014, 0, 1);

/** What `--chip` takes. */
export const DUMP_FAMILIES: readonly string[] = ['esp8266', ...IMAGE_FAMILIES];

/**
 * @param found in the image
 * @param known of the board's newest backup
 * @throws EspdError `other-chip` where they contradict each other, `import-unclear` where nothing tells
 */
export function familyOfDump(facts: {
  readonly name: string;
  readonly mac: Mac;
  readonly found: string | null;
  readonly told: string | undefined;
  readonly known: string | undefined;
}): string {
  const { name, mac, found, told, known } = facts;
  const refuse = (other: string, says: string) =>
    new EspdError('other-chip', `${name} is of ${found ?? told ?? ''}, but ${says} ${other}`, {
      hint: `Is it a dump of ${mac}? Nothing was imported`,
    });
  if (found !== null && told !== undefined && found !== told) throw refuse(told, '--chip says');
  const family = found ?? told;
  if (family !== undefined && known !== undefined && family !== known)
    throw refuse(known, `the backups of ${mac} are of`);
  const chosen = family ?? known;
  if (chosen !== undefined) return chosen;
  throw new EspdError('import-unclear', `Of which chip ${name} is cannot be seen in it`, {
    hint: `Name it with --chip: ${DUMP_FAMILIES.join(', ')}. If its flash is encrypted, nothing else tells`,
  });
}
