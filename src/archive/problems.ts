/** How what is wrong in the archive is put into words and errors. Pure. */

import { join } from 'node:path';
import { EspdError } from '../errors.ts';
import { macToFolder } from '../mac.ts';
import type { Mac } from '../mac.ts';
import type { Fault } from './disk-faults.ts';
import { printable } from '../printable.ts';
import type { ArchiveProblem } from './types.ts';

/** @param file relative to the archive */
export function toProblem(mac: Mac | null, id: string | null, file: string, fault: Fault): ArchiveProblem {
  const { code, problem, hint } = fault;
  const shown = printable(file);
  return { mac, id, file: shown, problem, error: new EspdError(code, `${shown} ${problem}`, { hint }) };
}

/** The path of a file of a backup, relative to the archive; that of the backup for an empty name. */
export function placeOf(mac: Mac, id: string, file: string): string {
  return join(macToFolder(mac), id, file);
}

/** Something else stands where a board's folder belongs. */
export function notAFolder(isLink: boolean): Fault {
  const problem = isLink ? 'is a symbolic link; espd follows none' : 'is no folder';
  return { code: 'archive-damaged', problem, hint: '' };
}

/** Nothing is known of the content: it could not be read, or is of a format that this espd does not know. */
export function isUnreadable({ code }: Pick<Fault, 'code'>): boolean {
  return code === 'archive-unreadable' || code === 'archive-newer';
}
