/** `espd verify`: hashes the archive again; with `--device`, compares attached boards with it without reading them out. */

import { type ChipChangeSince, chipChangeText } from '../archive/chip-change.ts';
import { type Sample, parseSample } from '../archive/sample.ts';
import type { VerifyPlace, VerifyReport } from '../archive/types.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { commandLine } from '../transfer/finish-command.ts';
import { guardMac } from '../transfer/guard-mac.ts';
import { halfRestoredText } from '../transfer/half-restored.ts';
import { wasConfirmed } from '../transfer/confirm.ts';
import type { Session } from '../transfer/session.ts';
import { type DeviceVerification, confirmSeen, confirmable, verifyDevice } from '../transfer/verify-device.ts';
import { problemJson } from '../documents/problem.ts';
import { noteForeign } from './archive-notes.ts';
import { failuresJson, findBoard, noteFailures, onBoards, overallError, selectPorts } from './boards.ts';
import type { CommandContext } from './context.ts';
import { endedBy } from './ended-by.ts';
import { fetchedFor } from './fleet/fetch.ts';
import { plural, printable } from './text.ts';

export interface VerifyCommandOptions {
  /** As the person typed it; undefined = the whole archive, or all attached boards. */
  readonly mac?: string;
  readonly device: boolean;
  readonly port?: string;
  /** As typed: `5%` or `2/7`. */
  readonly sample?: string;
  /** With `store`: as typed; empty = all. */
  readonly boards: readonly string[];
  readonly store: boolean;
  readonly newest: boolean;
  readonly continue: boolean;
  readonly repair: boolean;
  readonly dryRun: boolean;
}

export async function verify(
  context: CommandContext,
  options: VerifyCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  if (options.store) return verifyInStore(context, options, env);
  const [only] = ['newest', 'continue', 'repair', 'dryRun'].filter((name) => options[name as 'newest']);
  if (only !== undefined || options.boards.length > 0) {
    const what = only === undefined ? 'Boards' : `--${only === 'dryRun' ? 'dry-run' : only}`;
    throw new EspdError('usage', `${what} without --store: that is for what lies in the object store`, {
      hint: 'One board of the archive here is verified by: espd verify --mac BOARD',
    });
  }
  if (options.port !== undefined && !options.device) {
    throw new EspdError('usage', '--port goes together with --device', {
      hint: 'Without --device the archive is verified, and no port is opened',
    });
  }
  if (options.sample !== undefined && options.device) {
    throw new EspdError('usage', '--sample does not go together with --device', {
      hint: 'A sample is one of the archive; --device asks the chip for one digest of its whole flash',
    });
  }
  const sample = options.sample === undefined ? undefined : parseSample(options.sample);
  // Before any board is touched.
  await context.archive.checkReadable();
  const mac = options.mac === undefined ? undefined : await context.archive.resolveBoard(options.mac);
  return options.device ? verifyDevices(context, mac, options.port) : verifyArchive(context, mac, sample);
}

async function verifyInStore(
  context: CommandContext,
  { device, port, mac, boards, sample, continue: goOn, newest, repair, dryRun }: VerifyCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  if (device || port !== undefined) {
    throw new EspdError('usage', '--store does not go together with --device and --port', {
      hint: 'It reads what lies in the object store, and touches no board',
    });
  }
  const all = mac === undefined ? boards : [...boards, mac];
  const { verifyStore } = await import('./fleet/verify-store.ts');
  return verifyStore(context, { boards: all, sample, newest, goOn, repair, dryRun }, env);
}

async function verifyArchive(
  context: CommandContext,
  mac: Mac | undefined,
  sample: Sample | undefined,
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  const onProgress = (board: Mac, id: string, place: VerifyPlace) =>
    out.status(
      sample === undefined
        ? `Verifying ${board} ${id} (board ${place.board} of ${place.boards})`
        : `Verifying ${board} ${id} (backup ${place.backup} of ${place.backups})`,
    );
  const work = archive.verify({ ...(mac && { mac }), ...(sample && { sample }), signal, onProgress });
  const report = await work.finally(() => out.status(''));
  const { checked, of, damaged, unreadable, foreign } = report;
  const error = report.isBrokenOff
    ? endedBy(signal, signal.reason)
    : (verdictOf(report) ?? (await nothingHere(context, mac, report)));
  for (const { file, problem } of damaged) out.behind('DAMAGED  ', `${printable(file)}: ${printable(problem)}`);
  for (const { file, problem } of unreadable) out.behind('NOT READ  ', `${printable(file)}: ${printable(problem)}`);
  const extent = of === undefined ? '' : ` of ${of}`;
  if (checked === 0 && of !== undefined && error === undefined)
    out.line(`None of ${plural(of, 'backup')} is in this sample`);
  else if (report.isBrokenOff) out.line(`${plural(checked, 'backup')} verified until it was interrupted`);
  else if (error === undefined)
    out.line(`${plural(checked, 'backup')}${extent} verified: every file is as it was written`);
  noteForeign(out, foreign);
  out.document({
    checked,
    ...(of === undefined ? {} : { of }),
    damaged: damaged.map(problemJson),
    unreadable: unreadable.map(problemJson),
    foreign,
    ok: error === undefined,
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

/** Nothing was verified of a board that is known: who asks whether its backups are sound must not take that for a yes. */
async function nothingHere(
  { archive, call }: CommandContext,
  mac: Mac | undefined,
  { checked, of }: VerifyReport,
): Promise<EspdError | undefined> {
  if (mac === undefined || checked > 0 || (of ?? 0) > 0) return undefined;
  const stored = await archive.elsewhere.of(mac);
  if (stored.length === 0) return undefined;
  const ids = new Set(stored.map(({ id }) => id));
  const what = ids.size === 1 ? 'its only one lies' : `its ${ids.size} backups lie`;
  return new EspdError('archive-elsewhere', `No backup of ${mac} is here: ${what} in the object store alone`, {
    hint: `To have them read back there: ${commandLine(call, 'verify', '--store', mac)}`,
  });
}

/** Damage is said only where digests contradict; where something could not be read, nothing is known of it. */
function verdictOf({ checked, damaged, unreadable }: VerifyReport): EspdError | undefined {
  const count = plural(checked, 'backup');
  const [first] = unreadable;
  if (damaged.length > 0) {
    const more = first === undefined ? '' : `; ${unreadable.length} more could not be read`;
    return new EspdError('archive-damaged', `${plural(damaged.length, 'problem')} in ${count}${more}`, {
      hint: 'Nothing was changed. Plug the board in for a new backup; keep the damaged one for whoever looks into it',
    });
  }
  if (first === undefined) return undefined;
  const code = (unreadable.find(({ error }) => error.code === 'archive-unreadable') ?? first).error.code;
  const message = `${plural(unreadable.length, 'file')} could not be read; ${count} verified and sound`;
  return new EspdError(code, message, { hint: first.error.hint });
}

async function verifyDevices(
  context: CommandContext,
  mac: Mac | undefined,
  address: string | undefined,
): Promise<EspdError | undefined> {
  const { archive, out } = context;
  const ports =
    mac !== undefined && address === undefined ? [await findBoard(context, mac)] : await selectPorts(context, address);
  const look = async (session: Session) => {
    const board = session.board.identity.mac;
    if (mac !== undefined) guardMac(session.board.identity, mac);
    return { seen: await verifyDevice(session, archive), board };
  };
  const { outcomes, failures } = await onBoards(context, ports, look, async ({ seen, board }) => ({
    ...seen,
    ...(await confirmationOf(context, seen, board)),
  }));
  const devices = outcomes.map(({ port, identity, result: { value } }) => ({
    port: port.address,
    mac: identity.mac,
    id: value.backup.id,
    from: value.backup.mac,
    here: value.backup.isHere,
    matches: value.matches,
    equals: value.equals === null ? null : { mac: value.equals.mac, id: value.equals.id },
    confirmed: value.confirmed,
    confirmedNow: value.confirmedNow,
    chipChange: value.chipChange,
  }));
  for (const device of devices) {
    out.line(deviceLine(device));
    for (const remark of remarksOn(device)) out.line(`  ${remark}`);
  }
  const different = devices.filter(({ matches }) => !matches);
  const differs = different.length === 0 ? undefined : await differenceOf(context, different, devices.length);
  const error = differs ?? overallError(failures, outcomes.length, mac !== undefined || address !== undefined);
  noteFailures(context, failures, error);
  out.document({
    checked: devices.length,
    damaged: different.map(({ mac: board, id }) => ({
      mac: board,
      id,
      file: 'device',
      problem: 'differs from the backup',
    })),
    ok: error === undefined,
    devices,
    failed: failuresJson(failures),
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

interface Device {
  readonly mac: Mac;
  readonly id: string;
  /** The board that backup `id` is of. */
  readonly from: Mac;
  /** Backup `id` has its files here; else it lies in the object store alone. */
  readonly here: boolean;
  readonly matches: boolean;
  readonly equals: { readonly mac: Mac; readonly id: string } | null;
  /** A chip has confirmed backup `id`, by now. */
  readonly confirmed: boolean;
  /** What the board equals had been confirmed by no chip before. */
  readonly confirmedNow: boolean;
  readonly chipChange: ChipChangeSince | null;
}

/** What the board says of images that came from elsewhere. A note that cannot be written makes the verification no less true. */
async function confirmationOf(
  context: CommandContext,
  seen: DeviceVerification,
  board: Mac,
): Promise<{ confirmed: boolean; confirmedNow: boolean }> {
  const { archive, out, signal } = context;
  let confirmedNow = false;
  try {
    const equals = confirmable(seen, board);
    if (equals !== undefined && !(await wasConfirmed(archive, equals))) {
      // Only what is hashed here is noted: it is the one case in which a board's digest takes more than a manifest.
      await fetchedFor(context, () => archive.resolveBackup(equals.mac, equals.id));
      confirmedNow = await confirmSeen(archive, seen, board, signal);
    }
  } catch (error) {
    signal.throwIfAborted();
    const isOfStore = error instanceof EspdError && error.code.startsWith('store-');
    if (!isOfStore && !hasCode(error, 'archive-unwritable', 'disk-full', 'archive-elsewhere')) throw error;
    const reason = error instanceof EspdError ? error.message : '';
    out.note(`That the chip of ${board} has confirmed its imported backup cannot be noted: ${reason}`);
  }
  return { confirmed: await wasConfirmed(archive, seen.backup), confirmedNow };
}

function remarksOn({ here, confirmed, confirmedNow, equals, chipChange }: Device): string[] {
  const remarks: string[] = [];
  if (confirmedNow && equals !== null)
    remarks.push(`Backup ${equals.id} was imported, and is confirmed by the chip now`);
  if (!here) remarks.push('That backup is not here: it lies in the object store');
  if (!confirmed) remarks.push('That backup was imported, and no chip has confirmed it');
  if (chipChange !== null) remarks.push(chipChangeText(chipChange));
  return remarks;
}

function deviceLine({ mac, id, from, matches, equals }: Device): string {
  const nameOf = (backup: { mac: Mac; id: string }) =>
    backup.mac === mac ? `its backup ${backup.id}` : `backup ${backup.id} of ${backup.mac}`;
  const expected = nameOf({ mac: from, id });
  if (matches) return `${mac}  equals ${expected}`;
  return `DIFFERS  ${mac} is not as in ${expected}${equals === null ? '' : `; it equals ${nameOf(equals)}`}`;
}

async function differenceOf(
  { archive, call }: CommandContext,
  different: readonly Device[],
  count: number,
): Promise<EspdError> {
  const message = `${different.length} of ${count} boards differ from their backups`;
  const [first] = different;
  const half = first === undefined ? null : await archive.halfRestored(first.mac).catch(() => null);
  if (first === undefined || different.length > 1) {
    return new EspdError('digest-mismatch', message, {
      hint: 'Nothing was changed. "espd backup" keeps what is on a board now, "espd restore" puts its backup back',
    });
  }
  const { mac, from, id } = first;
  if (half !== null) {
    const { message: state, hint } = halfRestoredText(mac, half, call);
    return new EspdError('digest-mismatch', message, { hint: `${state}. ${hint}` });
  }
  const keep = commandLine(call, 'backup', '--mac', mac);
  const putBack = commandLine(call, 'restore', '--mac', from, ...(from === mac ? [] : ['--to', mac]), '--at', id);
  return new EspdError('digest-mismatch', message, {
    hint: `Nothing was changed. "${keep}" keeps what is on it now; "${putBack}" puts that backup back`,
  });
}
