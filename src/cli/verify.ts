/** `espd verify`: hashes the archive again; with `--device`, compares attached boards with it without reading them out. */

import { EspdError } from '../errors.ts';
import type { VerifyReport } from '../archive/types.ts';
import type { Mac } from '../mac.ts';
import { guardMac } from '../transfer/guard-mac.ts';
import { verifyDevice } from '../transfer/verify-device.ts';
import { noteForeign, problemJson } from './archive-notes.ts';
import { failuresJson, findBoard, noteFailures, onBoards, overallError, selectPorts } from './boards.ts';
import type { CommandContext } from './context.ts';
import { plural, printable } from './text.ts';

export interface VerifyCommandOptions {
  /** As the person typed it; undefined = the whole archive, or all attached boards. */
  readonly mac?: string;
  readonly device: boolean;
  readonly port?: string;
}

export async function verify(context: CommandContext, options: VerifyCommandOptions): Promise<EspdError | undefined> {
  // Before any board is touched.
  await context.archive.checkReadable();
  const mac = options.mac === undefined ? undefined : await context.archive.resolveBoard(options.mac);
  return options.device ? verifyDevices(context, mac, options.port) : verifyArchive(context, mac);
}

async function verifyArchive(context: CommandContext, mac: Mac | undefined): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  const onProgress = (board: Mac, id: string, place: { board: number; boards: number }) =>
    out.status(`Verifying ${board} ${id} (board ${place.board} of ${place.boards})`);
  const work = archive.verify({ ...(mac === undefined ? {} : { mac }), signal, onProgress });
  const report = await work.finally(() => out.status(''));
  const { checked, damaged, unreadable, foreign } = report;
  const error = verdictOf(report);
  for (const { file, problem } of damaged) out.line(`DAMAGED  ${printable(file)}: ${printable(problem)}`);
  for (const { file, problem } of unreadable) out.line(`NOT READ  ${printable(file)}: ${printable(problem)}`);
  if (error === undefined) out.line(`${plural(checked, 'backup')} verified: every file is as it was written`);
  noteForeign(out, foreign);
  out.document({
    checked,
    damaged: damaged.map(problemJson),
    unreadable: unreadable.map(problemJson),
    foreign,
    ok: error === undefined,
    ...(error === undefined ? {} : { error }),
  });
  return error;
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
  const { outcomes, failures } = await onBoards(context, ports, (session) => {
    if (mac !== undefined) guardMac(session.board.identity, mac);
    return verifyDevice(session, archive);
  });
  const devices = outcomes.map(({ port, identity, result }) => ({
    port: port.address,
    mac: identity.mac,
    id: result.value.backup.id,
    matches: result.value.matches,
  }));
  for (const { mac: board, id, matches } of devices) {
    out.line(matches ? `${board}  equals its backup ${id}` : `DIFFERS  ${board} is not as in its backup ${id}`);
  }
  const different = devices.filter(({ matches }) => !matches);
  const differs =
    different.length === 0
      ? undefined
      : new EspdError('digest-mismatch', `${different.length} of ${devices.length} boards differ from their backups`);
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
