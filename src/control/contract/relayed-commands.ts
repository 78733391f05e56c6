/** Which command lines a daemon does for a person, and which files it may then ask that person for. Pure. */

import { basename, join } from 'node:path';

/** Commands that a process of the daemon's does. The others concern the person's own process, or are the daemon. */
const RELAYED = [
  'identify',
  'flash-id',
  'backup',
  'restore',
  'undo',
  'list',
  'show',
  'contents',
  'diff',
  'verify',
  'export',
  'import',
  'label',
  'pin',
  'unpin',
  'prune',
  'push',
  'pull',
  'stations',
] as const;

/** These choose another config or archive than the daemon's, or speak of a log that is not the person's. */
const OWN_OPTIONS = ['--config', '--archive', '--log-level'];

export function isRelayedCommand(name: string): boolean {
  return RELAYED.some((relayed) => relayed === name);
}

/**
 * The command of a command line that a daemon may do; undefined = it may not. What is refused without need (a note that
 * reads `--config`) the person's process does by itself.
 */
export function relayedCommand(args: readonly string[]): string | undefined {
  const operands = args.indexOf('--');
  const options = operands === -1 ? args : args.slice(0, operands);
  if (options.some((arg) => OWN_OPTIONS.some((own) => arg === own || arg.startsWith(`${own}=`)))) return undefined;
  // None of the options that may stand before a command has a value.
  const command = args.find((arg) => !arg.startsWith('-'));
  return command !== undefined && isRelayedCommand(command) ? command : undefined;
}

export interface TouchableFiles {
  mayRead(path: string): boolean;
  mayCreate(path: string): boolean;
}

const CREATING = ['backup', 'export'];
const READING = ['diff', 'import'];
const RECORDING = ['identify', 'flash-id', 'backup', 'restore', 'undo', 'verify', 'diff'];

/** What `--record` names. */
const recordings = (args: readonly string[]) =>
  args.flatMap((arg, index) =>
    args[index - 1] === '--record' ? [arg] : (/^--record=(.*)$/s.exec(arg)?.slice(1) ?? []),
  );

/**
 * The files that the person has named on this command line. No other is read or made for the daemon, whatever it asks
 * for: a command may be run by root, and the daemon is not.
 */
export function touchableFiles(args: readonly string[]): TouchableFiles {
  const command = relayedCommand(args) ?? '';
  // --output=FILE and 0x1000=FILE as well.
  const named = args.flatMap((arg) => [arg, ...(arg.includes('=') ? [arg.slice(arg.indexOf('=') + 1)] : [])]);
  const isIn = (path: string) =>
    !['', '.', '..'].includes(basename(path)) && named.some((folder) => join(folder, basename(path)) === path);
  return {
    mayRead: (path) => READING.includes(command) && (named.includes(path) || (command === 'import' && isIn(path))),
    mayCreate: (path) =>
      (CREATING.includes(command) && named.includes(path)) ||
      (RECORDING.includes(command) && recordings(args).includes(path)),
  };
}
