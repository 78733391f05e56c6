/** An archived image is put back on one board, by whatever command: found, shown what is going to happen, asked, told. */

import type { Backup } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { hexAddress } from '../esp/flash-read.ts';
import { finishCommand } from '../transfer/finish-command.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { followBoard } from '../plugs/job.ts';
import { type RestoreOutcome, restoreBoard } from '../transfer/restore/restore.ts';
import type { Overrides } from '../transfer/restore/guards.ts';
import type { KeepWish } from '../transfer/restore/keep.ts';
import type { RestorePart } from '../transfer/restore/parts.ts';
import type { RestorePlan } from '../transfer/restore/plan.ts';
import { guardConfirmed } from '../transfer/restore/unconfirmed.ts';
import { WriteMismatchError } from '../transfer/restore/write.ts';
import { type Port, type SessionResult, stuckError } from '../transfer/session.ts';
import { halfRestoredMark, restoredMarks } from './board-marks.ts';
import { findBoard, finderOf, selectPorts } from './boards.ts';
import type { Consent } from './consent.ts';
import { type CommandContext, sessionOptions } from './context.ts';
import { endedBy } from './ended-by.ts';
import { planLines } from './restore-text.ts';
import { dim, formatSize, plural } from './text.ts';
import { waitForBoard } from './wait-for-board.ts';

/** Options of every command that puts an image back. */
export interface PutBackOptions {
  readonly port?: string;
  /** Seconds, or true = as long as it takes. */
  readonly wait?: number | true;
  readonly dryRun: boolean;
  readonly yes: boolean;
  /** Of a flash whose id does not tell its size, in bytes. */
  readonly flashSize?: number;
  /** False: `--no-snapshot`. */
  readonly snapshot?: boolean;
  /** The person knows that no chip has confirmed the image. */
  readonly unconfirmed?: boolean;
  readonly ignoreRevision?: boolean;
  readonly ignoreFlashSize?: boolean;
  readonly ignoreSecurity?: boolean;
  readonly ignoreWriteProtect?: boolean;
  readonly ignoreLayout?: boolean;
  readonly ignoreChipChange?: boolean;
}

/** What is put back, and where. */
export interface PutBackJob {
  /** Verified: see `soundBackup`. */
  readonly backup: Backup;
  readonly why: string;
  readonly targetMac: Mac;
  readonly consent: Consent;
  readonly keep?: KeepWish;
  readonly part?: RestorePart;
  /** What stands beside the result in the JSON document. */
  readonly about?: object;
}

/**
 * The restore of one board, from its port on. Prints what comes of it.
 * @returns the error that the command ends with, already in the JSON document
 */
export async function putBack(
  context: CommandContext,
  job: PutBackJob,
  options: PutBackOptions,
): Promise<EspdError | undefined> {
  const { archive, out } = context;
  const { backup, why, targetMac, consent, keep, part, about = {} } = job;
  const isTold = isToldOfUnconfirmed(options);
  const confirmed = await guardConfirmed(archive, backup, isTold);
  const port = await portOf(context, targetMac, options);
  const half = await archive.halfRestored(targetMac);
  if (half !== null) out.note(halfRestoredText(targetMac, half, context.call).message);
  const say = (line: string) => (options.dryRun ? out.line(line) : out.note(line));
  let plan: RestorePlan | undefined;
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
          context.onPlan(known);
          for (const line of planLines(known)) say(line);
        },
        unconfirmed: isTold,
        confirm: (known) =>
          consent(
            `${confirmed ? '' : `${NOT_CONFIRMED}. `}${planText(known)}. Write to ${targetMac} at ${port.address}?`,
            planLines(known),
          ),
        command: { port: options.port ?? null, yes: options.yes, unconfirmed: options.unconfirmed ?? false },
        ...(keep === undefined ? {} : { keep }),
        ...(part === undefined ? {} : { part }),
      }),
    ));
  } catch (error) {
    return reportFailure(context, job, port, plan, error);
  }
  // The time in which a person thought is not the restore's.
  result = { ...result, seconds: result.seconds - result.value.askedSeconds };
  printOutcome(context, targetMac, options.dryRun, result);
  const error = result.left === 'stuck' ? stuckError(port) : undefined;
  const { sectorsWritten, transfer, verified, scope, snapshot, finished } = result.value;
  if (!options.dryRun) for (const mark of restoredMarks(port, targetMac, backup, result)) context.onMark(mark);
  out.document({
    mac: targetMac,
    id: backup.id,
    sizeBytes: backup.manifest.image.sizeBytes,
    sha256: backup.manifest.image.sha256,
    ...about,
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

/** Who is asked at a terminal is told there; who has said --yes beforehand must have said this, too. */
export function isToldOfUnconfirmed({ yes, dryRun, unconfirmed }: PutBackOptions): boolean {
  return unconfirmed === true || dryRun || !yes;
}

export const NOT_CONFIRMED = 'No chip has confirmed this image';

async function portOf(context: CommandContext, mac: Mac, { port, wait }: PutBackOptions): Promise<Port> {
  if (wait !== undefined) return waitForBoard(context, mac, wait === true ? undefined : wait * 1000);
  const [found] = port === undefined ? [await findBoard(context, mac)] : await selectPorts(context, port);
  if (found === undefined) throw new EspdError('board-not-found', `No board answers as ${mac}`);
  return found;
}

export function overridesOf(options: PutBackOptions): Overrides {
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
  context: CommandContext,
  { backup, targetMac, about = {} }: PutBackJob,
  port: Port,
  plan: RestorePlan | undefined,
  thrown: unknown,
): Promise<EspdError> {
  const { archive, call, out, signal } = context;
  const error = endedBy(signal, thrown);
  if (error.code === 'internal') throw thrown;
  const half = await archive.halfRestored(targetMac).catch(() => null);
  if (half !== null) context.onMark(halfRestoredMark(port, targetMac, half, call));
  if (half !== null && error.code !== 'half-restored') {
    const { message, hint } = halfRestoredText(targetMac, half, call);
    out.note(message);
    out.note(`  ${hint}`);
  }
  out.document({
    mac: targetMac,
    id: backup.id,
    ...about,
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
  const kept = plan.kept.parts.map(({ name }) => name ?? '').join(', ');
  const region = kept === '' ? 'region verified by the chip, the rest' : `flash verified by the chip, ${kept}`;
  const proof = scope === 'flash' ? 'whole flash verified by the chip' : `${region} untouched`;
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
