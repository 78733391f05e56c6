/** `espd restore`: puts an archived image back on the board with that MAC, or on one that is named in full. */

import { finishCommand, halfRestoredText } from '../transfer/half-restored.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Archive, Backup } from '../archive/types.ts';
import type { Mac } from '../mac.ts';
import { hexAddress } from '../esp/flash-read.ts';
import { followBoard } from '../plugs/job.ts';
import { type RestoreOutcome, restoreBoard } from '../transfer/restore/restore.ts';
import type { Overrides } from '../transfer/restore/guards.ts';
import type { RestorePart } from '../transfer/restore/parts.ts';
import type { RestorePlan } from '../transfer/restore/plan.ts';
import { WriteMismatchError } from '../transfer/restore/write.ts';
import { type Port, type SessionResult, stuckError } from '../transfer/session.ts';
import { noteForeign } from './archive-notes.ts';
import { findBoard, finderOf, selectPorts } from './boards.ts';
import { type CommandContext, sessionOptions } from './context.ts';
import { restoreMany } from './restore-many.ts';
import { planLines } from './restore-text.ts';
import { dim, formatSize, plural } from './text.ts';
import { waitForBoard } from './wait-for-board.ts';

export interface RestoreCommandOptions {
  /** As the person typed it: a MAC in any notation. One of both. */
  readonly mac?: string;
  readonly from?: string;
  readonly at: string;
  readonly port?: string;
  /** Another board on purpose, typed in full. */
  readonly to?: Mac;
  /** Seconds, or true = as long as it takes. */
  readonly wait?: number | true;
  readonly many?: boolean;
  readonly count?: number;
  readonly partition?: readonly string[];
  readonly offset?: number;
  readonly size?: number;
  readonly dryRun: boolean;
  readonly yes: boolean;
  /** False: `--no-snapshot`. */
  readonly snapshot?: boolean;
  readonly ignoreRevision?: boolean;
  readonly ignoreFlashSize?: boolean;
  readonly ignoreSecurity?: boolean;
  readonly ignoreWriteProtect?: boolean;
  readonly ignoreLayout?: boolean;
}

export async function restore(context: CommandContext, options: RestoreCommandOptions): Promise<EspdError | undefined> {
  const board = checkOptions(options);
  const { backup, why } = await chooseBackup(context, { board, at: options.at, to: options.to });
  if (options.many === true) return restoreMany(context, backup, why, options);

  const { archive, out } = context;
  const targetMac = options.to ?? backup.mac;
  const port = await portOf(context, targetMac, options);
  const half = await archive.halfRestored(targetMac);
  if (half !== null) out.note(halfRestoredText(targetMac, half).message);
  const say = (line: string) => (options.dryRun ? out.line(line) : out.note(line));
  let plan: RestorePlan | undefined;
  const part = partOf(options);
  let result: SessionResult<RestoreOutcome>;
  try {
    const boardOptions = sessionOptions(context, port.address, true);
    ({ result } = await followBoard(port, finderOf(context), boardOptions, (session) =>
      restoreBoard(session, {
        archive,
        backup,
        targetMac,
        why,
        dryRun: options.dryRun,
        overrides: overridesOf(options),
        snapshot: options.snapshot ?? true,
        onPlan: (known) => {
          plan = known;
          for (const line of planLines(known)) say(line);
        },
        ...(part === undefined ? {} : { part }),
        ...(!options.yes && !options.dryRun && out.canAsk
          ? { confirm: (known) => out.confirm(`${planText(known)}. Write to ${targetMac} at ${port.address}?`) }
          : {}),
      }),
    ));
  } catch (error) {
    return reportFailure(context, { backup, targetMac, plan }, error);
  }
  printOutcome(context, targetMac, options.dryRun, result);
  const error = result.left === 'stuck' ? stuckError(port) : undefined;
  const { sectorsWritten, transfer, verified, scope, snapshot, finished } = result.value;
  out.document({
    mac: targetMac,
    id: backup.id,
    sizeBytes: backup.manifest.image.sizeBytes,
    sha256: backup.manifest.image.sha256,
    plan: result.value.plan,
    sectorsWritten,
    verified,
    scope,
    snapshot: snapshot?.id ?? null,
    finished,
    transfer: { ...transfer, wireBytes: result.wireBytes, seconds: result.seconds },
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

/** What does not go together. @returns the board whose backup is meant */
function checkOptions(options: RestoreCommandOptions): string {
  const { mac, from, to, port, wait, many, count, partition, offset, size, snapshot, dryRun } = options;
  const refuse = (message: string, hint = '') => new EspdError('usage', message, { hint });
  const board = mac ?? from;
  if (board === undefined) throw refuse('Whose backup? Name a board', 'espd restore --mac 50:02:91:c3:37:a5');
  if (mac !== undefined && from !== undefined) throw refuse('--mac and --from mean the same: give one of them');
  if (from !== undefined && to === undefined && many !== true) {
    throw refuse('--from needs a board to write to', 'Name it with --to, or take every board with --many');
  }
  if ((offset === undefined) !== (size === undefined)) throw refuse('--offset and --size go together');
  if (partition !== undefined && offset !== undefined) throw refuse('Give either --partition or --offset and --size');
  if (wait !== undefined && port !== undefined) throw refuse('--wait finds the port itself: leave out --port');
  if (many === true) {
    const single = { to, port, wait, partition, offset };
    const given = Object.entries(single).find(([, value]) => value !== undefined)?.[0];
    if (given !== undefined) throw refuse(`--many does not go together with --${given}`);
    const isForced = Object.values(overridesOf(options)).includes(true);
    if (dryRun || snapshot === false || isForced) {
      throw refuse(
        '--many makes a snapshot of each board and overrides nothing',
        'Take such boards one by one with --to',
      );
    }
  } else if (count !== undefined) throw refuse('--count goes together with --many');
  return board;
}

/**
 * The backup that is meant, verified. `latest` means what the board should hold: an interrupted restore goes on with what
 * it began with, and after a restore the newest backup is the snapshot of what was there before, which nobody means who
 * types the same command again.
 */
async function chooseBackup(
  { archive, out, signal }: CommandContext,
  { board, at, to }: { board: string; at: string; to: Mac | undefined },
): Promise<{ backup: Backup; why: string }> {
  const mac = await archive.resolveBoard(board);
  const meant = at === 'latest' ? await latestMeant(archive, mac, to ?? mac) : undefined;
  const backup = await archive.resolveBackup(mac, meant?.id ?? at);
  const [damage] = await archive.verifyBackup(backup.mac, backup.id, signal);
  if (damage !== undefined) {
    const { code, hint } = damage.error;
    const what = code === 'archive-damaged' ? 'is damaged' : 'cannot be verified';
    throw new EspdError(code, `Backup ${backup.id} of ${backup.mac} ${what}: ${damage.file} ${damage.problem}`, {
      hint: `Nothing was written. ${hint === '' ? '' : `${hint}. `}"espd show ${backup.mac}" lists the other backups; choose one with --at`,
    });
  }
  const { backups, foreign } = await archive.history(backup.mac);
  const beside = foreign.filter(({ id }) => id === backup.id);
  noteForeign(out, beside);
  const place = backups.findIndex(({ id }) => id === backup.id) + 1;
  const count = `${place} of ${backups.length}`;
  if (meant !== undefined) return { backup, why: `${meant.why} (${count})` };
  if (backups.length === 1) return { backup, why: 'the only one' };
  if (at === 'latest' || at === 'first') return { backup, why: `${at} of ${backups.length}` };
  return { backup, why: at === backup.id ? `named by its id (${count})` : `the newest not after ${at} (${count})` };
}

async function latestMeant(archive: Archive, mac: Mac, target: Mac): Promise<{ id: string; why: string } | undefined> {
  const record = (await archive.halfRestored(target))?.record;
  if (record?.from.mac === mac) return { id: record.from.id, why: 'to finish the interrupted restore' };
  if (target !== mac) return undefined;
  const snapshots = new Set(
    (await archive.restores(mac)).map(({ snapshot, snapshotIsNew }) => snapshotIsNew && snapshot),
  );
  const ids = (await archive.history(mac)).backups.map(({ id }) => id);
  const meant = ids.findLast((id) => !snapshots.has(id));
  if (meant === undefined || meant === ids.at(-1)) return undefined;
  return { id: meant, why: 'the latest but for snapshots of restores' };
}

async function portOf(context: CommandContext, mac: Mac, { port, wait }: RestoreCommandOptions): Promise<Port> {
  if (wait !== undefined) return waitForBoard(context, mac, wait === true ? undefined : wait * 1000);
  const [found] = port === undefined ? [await findBoard(context, mac)] : await selectPorts(context, port);
  if (found === undefined) throw new EspdError('board-not-found', `No board answers as ${mac}`);
  return found;
}

function partOf({ partition, offset, size }: RestoreCommandOptions): RestorePart | undefined {
  if (partition !== undefined) return { partitions: partition };
  return offset === undefined || size === undefined ? undefined : { offset, sizeBytes: size };
}

function overridesOf(options: RestoreCommandOptions): Overrides {
  return {
    revision: options.ignoreRevision ?? false,
    flashSize: options.ignoreFlashSize ?? false,
    security: options.ignoreSecurity ?? false,
    writeProtect: options.ignoreWriteProtect ?? false,
    layout: options.ignoreLayout ?? false,
  };
}

/** Says, besides the error itself, in what state the board is. */
async function reportFailure(
  { archive, out, signal }: CommandContext,
  { backup, targetMac, plan }: { backup: Backup; targetMac: Mac; plan: RestorePlan | undefined },
  thrown: unknown,
): Promise<EspdError> {
  const error = signal.aborted ? new EspdError('interrupted', 'Interrupted') : toEspdError(thrown);
  if (error.code === 'internal') throw thrown;
  const half = await archive.halfRestored(targetMac).catch(() => null);
  if (half !== null && error.code !== 'half-restored') {
    const { message, hint } = halfRestoredText(targetMac, half);
    out.note(message);
    out.note(`  ${hint}`);
  }
  out.document({
    mac: targetMac,
    id: backup.id,
    ...(plan === undefined ? {} : { plan }),
    ...(half === null
      ? {}
      : { halfRestored: half.record === null ? { finish: null } : { finish: finishCommand(half.record) } }),
    ...(error instanceof WriteMismatchError ? { failedSectors: error.failedSectors } : {}),
    error,
  });
  return error;
}

function printOutcome(
  { out }: CommandContext,
  mac: Mac,
  dryRun: boolean,
  { value, wireBytes, seconds }: SessionResult<RestoreOutcome>,
): void {
  const { plan, sectorsWritten, scope, snapshot, finished } = value;
  const proof =
    scope === 'flash' ? 'whole flash verified by the chip' : 'region verified by the chip, the rest untouched';
  if (dryRun) {
    if (plan.sectors === 0) out.line(`${mac} holds this image already`);
    else {
      for (const region of plan.regions) out.line(`  ${hexAddress(region.offset)}  ${formatSize(region.sizeBytes)}`);
      out.line('Nothing was written');
    }
    return;
  }
  if (sectorsWritten === 0) {
    out.line(`${mac}  holds this ${scope === 'flash' ? 'image' : 'content'} already, verified by the chip`);
    if (finished) out.line('  It counted as half restored, and no longer does');
    return;
  }
  const what = finished ? 'restore finished' : 'restored';
  out.line(`${mac}  ${what}: ${plural(sectorsWritten, 'sector')} written, ${proof}`);
  if (snapshot !== null) out.line(`  What was on it before: ${snapshot.id}${snapshot.isNew ? ', a new backup' : ''}`);
  out.line(dim(`  ${formatSize(wireBytes)} on the wire, ${seconds.toFixed(1)} s`));
}

function planText(plan: RestorePlan): string {
  return `${plural(plan.sectors, 'sector')} of flash ${plan.sectors === 1 ? 'differs' : 'differ'} (${formatSize(plan.bytes)})`;
}
