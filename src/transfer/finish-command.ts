/** Commands of espd that messages print: as they stand, a shell must do what is meant. Pure. */

import type { RestoreRecord } from '../archive/restore-record.ts';

/** How espd was called, without the command: `espd`, and the options by which it finds the same config and archive. */
export type EspdCall = readonly string[];

export const PLAIN_CALL: EspdCall = ['espd'];

/** One word for a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

export function commandLine(call: EspdCall, ...args: readonly string[]): string {
  return [...call, ...args].map(shellWord).join(' ');
}

/** What of an unfinished restore its command is made of. */
export type Unfinished = Pick<RestoreRecord, 'from' | 'mac' | 'parts' | 'options' | 'archive'> &
  Partial<Pick<RestoreRecord, 'kept'>>;

/**
 * The command that finishes a restore: it needs the same port and the same overrides as the one that began it.
 * @param call how this process was called, which has found the record
 */
export function finishCommand(unfinished: Unfinished, call: EspdCall): string {
  const { archive } = unfinished;
  return commandLine(archive === null ? call : withArchive(call, archive), ...finishArguments(unfinished));
}

/** The same behind `espd`, for the archive that the image is in. */
export function finishArguments(unfinished: Unfinished): string[] {
  const { from, mac, parts, kept = [], options } = unfinished;
  const to = from.mac === mac ? [] : ['--to', mac];
  // Where something is kept, the parts are what lies around it.
  const confined = kept.length > 0 ? kept.flatMap(({ name }) => ['--keep', name]) : (parts ?? []).flatMap(partOptions);
  const args = ['restore', '--mac', from.mac, ...to, '--at', from.id, ...confined];
  if (options.port !== null) args.push('--port', options.port);
  if (options.toldFlashBytes !== null) args.push('--flash-size', `${options.toldFlashBytes / 1024}K`);
  for (const name of options.ignore) args.push(`--ignore-${name}`);
  if (options.unconfirmed === true) args.push('--unconfirmed');
  if (options.yes) args.push('--yes');
  return args;
}

function partOptions({ name, offset, sizeBytes }: NonNullable<RestoreRecord['parts']>[number]): string[] {
  if (name !== null) return ['--partition', name];
  return ['--offset', `0x${offset.toString(16)}`, '--size', `0x${sizeBytes.toString(16)}`];
}

/** The record lies outside the archive that the image is in. */
function withArchive(call: EspdCall, archive: string): EspdCall {
  const at = call.indexOf('--archive');
  const others = at === -1 ? call : [...call.slice(0, at), ...call.slice(at + 2)];
  return [...others, '--archive', archive];
}
