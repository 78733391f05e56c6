/**
 * `espd complete boards|ports [-- WORD]`: what the shells' completions ask when somebody presses TAB. One candidate a line,
 * behind a tab what it is. Nothing is ever said of a fault: whoever types wants no error in the middle of a line.
 *
 * `main.ts` calls it without loading the other commands, which would take twice as long.
 */

import { access, constants } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { openArchive } from '../../archive/archive.ts';
import type { Archive } from '../../archive/types.ts';
import { ApiClient } from '../../client/api.ts';
import { systemClock } from '../../clock.ts';
import { type Config, commandSocket, loadConfig } from '../../config/loader.ts';
import { EXIT } from '../../errors.ts';
import { silentLogger } from '../../log.ts';
import { printable } from '../../printable.ts';
import { listPorts } from '../../serial/listing.ts';
import type { PortInfo } from '../../serial/ports.ts';
import { decide } from '../../serial/rules.ts';

/** Nobody waits longer for TAB. */
const LIMIT_MS = 2000;
/** More than fit on a screen, and fewer than a shell takes long to sort. */
const MAX_CANDIDATES = 500;

export interface Candidate {
  readonly value: string;
  readonly about: string;
}

export interface CompleteHost {
  readonly env: NodeJS.ProcessEnv;
  readonly write: (text: string) => void;
  /** Those of this machine, unless a test has others. */
  readonly ports?: (watch: Pick<Config['watch'], 'folders' | 'remotes'>) => Promise<readonly PortInfo[]>;
}

/** @param args behind `complete`. @returns the exit status: 0, whatever happened */
export async function complete(args: readonly string[], host: CompleteHost): Promise<number> {
  const found = candidatesFor(args, host).catch((): Candidate[] => []);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Candidate[]>((resolve) => (timer = setTimeout(() => resolve([]), LIMIT_MS)));
  const candidates = await Promise.race([found, late]);
  clearTimeout(timer);
  host.write(candidateLines(candidates));
  return EXIT.done;
}

/** What cannot be printed as it is cannot be typed either, and is left out. */
export function candidateLines(candidates: readonly Candidate[]): string {
  return candidates
    .filter(({ value }) => value !== '' && printable(value) === value)
    .slice(0, MAX_CANDIDATES)
    .map(({ value, about }) => (about === '' ? `${value}\n` : `${value}\t${printable(about)}\n`))
    .join('');
}

async function candidatesFor(args: readonly string[], host: CompleteHost): Promise<Candidate[]> {
  const { values, positionals } = parseArgs({
    args: [...args],
    options: { config: { type: 'string' }, archive: { type: 'string' } },
    allowPositionals: true,
  });
  const [what, word = ''] = positionals;
  const { config } = await loadConfig({
    path: values.config,
    env: host.env,
    overrides: values.archive === undefined ? {} : { archive: { path: values.archive } },
  });
  if (what === 'ports') {
    return (await (host.ports ?? portsNow)(config.watch))
      .filter((port) => decide(port, config.watch).touch)
      .map(({ address, name, usb }) => ({
        value: name ?? address,
        about: name === undefined ? (usb?.product ?? '') : address,
      }));
  }
  if (what !== 'boards') return [];
  // What the command line names is never exchanged for something else, as with the commands themselves.
  const isNamed = values.config !== undefined || values.archive !== undefined;
  // A daemon that is named has the archive that is meant; else the one of the config, where it can be read.
  const isOwn = isNamed || (!host.env['ESPD_SOCKET'] && (await isReadable(config.archive.path)));
  const socketPath = isOwn ? null : commandSocket(config, host.env);
  if (socketPath !== null) return fromDaemon(new ApiClient(socketPath, systemClock), boardIn(word));
  const options = { log: silentLogger, clock: systemClock, compression: 'none', createdBy: '' } as const;
  const archive = openArchive(config.archive.path, options);
  const board = boardIn(word);
  return board === undefined ? boardsOf(archive) : backupsOf(archive, board);
}

function portsNow({ folders, remotes }: Pick<Config['watch'], 'folders' | 'remotes'>): Promise<PortInfo[]> {
  return listPorts({ folders, remotes: () => remotes, log: silentLogger });
}

/** Of `BOARD@WHICH`, whose WHICH is wanted; undefined where the board is still being typed. */
const boardIn = (word: string) => (word.includes('@') ? word.slice(0, word.indexOf('@')) : undefined);

function isReadable(folder: string): Promise<boolean> {
  return access(folder, constants.R_OK | constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** As a member of group espd, who may ask the daemon of an archive that only the daemon may read. */
async function fromDaemon(daemon: ApiClient, board: string | undefined): Promise<Candidate[]> {
  if (board === undefined) {
    const { boards } = (await daemon.ask('/v1/boards')) as { boards: { mac: string; label: string | null }[] };
    return candidatesOf(boards.map(({ mac, label }) => [mac, label ?? undefined]));
  }
  const path = `/v1/boards/${encodeURIComponent(board)}`;
  const { backups } = (await daemon.ask(path)) as { backups: { id: string }[] };
  return whichesOf(
    board,
    backups.map(({ id }) => id),
  );
}

/** Labels first, as nobody types a MAC who has given a name. */
async function boardsOf(archive: Archive): Promise<Candidate[]> {
  const { macs } = await archive.boards();
  const labels = await archive.marks.labels();
  return candidatesOf(macs.map((mac) => [mac, labels.get(mac)]));
}

function candidatesOf(boards: readonly (readonly [mac: string, label: string | undefined])[]): Candidate[] {
  return [
    ...boards.flatMap(([mac, label]): Candidate[] => (label === undefined ? [] : [{ value: label, about: mac }])),
    ...boards.map(([mac, label]): Candidate => ({ value: mac, about: label ?? '' })),
  ];
}

/** `BOARD@WHICH`, newest first. */
async function backupsOf(archive: Archive, board: string): Promise<Candidate[]> {
  return whichesOf(board, await archive.backupIds(await archive.resolveBoard(board)));
}

function whichesOf(board: string, ids: readonly string[]): Candidate[] {
  const whiches = ids.length === 0 ? [] : ['latest', 'first', ...ids.toReversed()];
  return whiches.map((which) => ({ value: `${board}@${which}`, about: '' }));
}
