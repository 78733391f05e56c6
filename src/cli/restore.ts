/** `espd restore`: puts an archived image back on the board with that MAC, or on one that is named in full. */

import type { Backup } from '../archive/types.ts';
import { EspdError, toEspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { hexAddress } from '../esp/flash-read.ts';
import { finishCommand } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { followBoard } from '../plugs/job.ts';
import { type RestoreOutcome, restoreBoard } from '../transfer/restore/restore.ts';
import type { Overrides } from '../transfer/restore/guards.ts';
import type { RestorePart } from '../transfer/restore/parts.ts';
import type { RestorePlan } from '../transfer/restore/plan.ts';
import { WriteMismatchError } from '../transfer/restore/write.ts';
import { type Port, type SessionResult, stuckError } from '../transfer/session.ts';
import { findBoard, finderOf, selectPorts } from './boards.ts';
import { consentOf } from './consent.ts';
import { type CommandContext, sessionOptions } from './context.ts';
import { restoreMany } from './restore-many.ts';
import { planLines } from './restore-text.ts';
import { type BoardAndWhich, type NamedBoard, boardAndWhich, chooseBackup } from './restore-which.ts';
import { dim, formatSize, plural } from './text.ts';
import { waitForBoard } from './wait-for-board.ts';

export interface RestoreCommandOptions extends NamedBoard {
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
  /** Of a flash whose id does not tell its size, in bytes. */
  readonly flashSize?: number;
  /** False: `--no-snapshot`. */
  readonly snapshot?: boolean;
  readonly ignoreRevision?: boolean;
  readonly ignoreFlashSize?: boolean;
  readonly ignoreSecurity?: boolean;
  readonly ignoreWriteProtect?: boolean;
  readonly ignoreLayout?: boolean;
  readonly ignoreChipChange?: boolean;
}

export async function restore(context: CommandContext, options: RestoreCommandOptions): Promise<EspdError | undefined> {
  const meant = checkOptions(options);
  const { archive, out } = context;
  const consent = consentOf(out, options);
  if (options.many === true) {
    const { backup, why } = await chooseBackup(context, meant, null);
    return restoreMany(context, { backup, why, consent }, options);
  }
  const { backup, why } = await chooseBackup(context, meant, options.to ?? 'same');
  const targetMac = options.to ?? backup.mac;
  const port = await portOf(context, targetMac, options);
  const half = await archive.halfRestored(targetMac);
  if (half !== null) out.note(halfRestoredText(targetMac, half, context.call).message);
  const say = (line: string) => (options.dryRun ? out.line(line) : out.note(line));
  let plan: RestorePlan | undefined;
  const part = partOf(options);
  let result: SessionResult<RestoreOutcome>;
  try {
    const { flashSize } = options;
    const told = flashSize === undefined ? {} : { toldFlashBytes: flashSize };
    const boardOptions = { ...sessionOptions(context, port.address, true), ...told };
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
        confirm: (known) => consent(`${planText(known)}. Write to ${targetMac} at ${port.address}?`, planLines(known)),
        command: { port: options.port ?? null, yes: options.yes },
        ...(part === undefined ? {} : { part }),
      }),
    ));
  } catch (error) {
    return reportFailure(context, { backup, targetMac, plan }, error);
  }
  // The time in which a person thought is not the restore's.
  result = { ...result, seconds: result.seconds - result.value.askedSeconds };
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

/** What does not go together. @returns the backup that is meant */
function checkOptions(options: RestoreCommandOptions): BoardAndWhich {
  const { from, to, port, wait, many, count, partition, offset, size, snapshot, dryRun } = options;
  const refuse = (message: string, hint = '') => new EspdError('usage', message, { hint });
  const meant = boardAndWhich(options);
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
    if (options.flashSize !== undefined)
      throw refuse('--many does not go together with --flash-size', 'Take such boards one by one with --to');
    const isForced = Object.values(overridesOf(options)).includes(true);
    if (dryRun || snapshot === false || isForced) {
      throw refuse(
        '--many makes a snapshot of each board and overrides nothing',
        'Restore such boards one by one with --to',
      );
    }
  } else if (count !== undefined) throw refuse('--count goes together with --many');
  return meant;
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
    chipChange: options.ignoreChipChange ?? false,
  };
}

/** Says, besides the error itself, in what state the board is. */
async function reportFailure(
  { archive, call, out, signal }: CommandContext,
  { backup, targetMac, plan }: { backup: Backup; targetMac: Mac; plan: RestorePlan | undefined },
  thrown: unknown,
): Promise<EspdError> {
  const error = signal.aborted ? new EspdError('interrupted', 'Interrupted') : toEspdError(thrown);
  if (error.code === 'internal') throw thrown;
  const half = await archive.halfRestored(targetMac).catch(() => null);
  if (half !== null && error.code !== 'half-restored') {
    const { message, hint } = halfRestoredText(targetMac, half, call);
    out.note(message);
    out.note(`  ${hint}`);
  }
  out.document({
    mac: targetMac,
    id: backup.id,
    ...(plan === undefined ? {} : { plan }),
    ...(half === null
      ? {}
      : { halfRestored: half.record === null ? { finish: null } : { finish: finishCommand(half.record, call) } }),
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
  const done = `${what}: ${plural(sectorsWritten, 'sector')} written, ${proof}`;
  out.paragraph(`${mac}  ${done}`, '  ');
  if (snapshot !== null) out.line(`  What was on it before: ${snapshot.id}${snapshot.isNew ? ', a new backup' : ''}`);
  out.line(dim(`  ${formatSize(wireBytes)} on the wire, ${seconds.toFixed(1)} s`));
}

function planText(plan: RestorePlan): string {
  return `${plural(plan.sectors, 'sector')} of flash ${plan.sectors === 1 ? 'differs' : 'differ'} (${formatSize(plan.bytes)})`;
}
