/** `espd backup`: one backup now, of one board or of all that are attached. */

import { chipChangeText } from '../archive/chip-change.ts';
import { backupEvents } from '../daemon/backup-events.ts';
import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { type BackupOutcome, readFlash } from '../transfer/backup.ts';
import type { OtherStations } from '../transfer/elsewhere.ts';
import { guardMac } from '../transfer/guard-mac.ts';
import { type Session, stuckError } from '../transfer/session.ts';
import {
  type Failure,
  type Outcome,
  failuresJson,
  findBoard,
  noteFailures,
  onBoards,
  overallError,
  selectPorts,
  claim,
} from './boards.ts';
import type { CommandContext } from './context.ts';
import { copyImage } from './image-file.ts';
import { SIZE_TOLD, dim, formatSize } from './text.ts';

export interface BackupCommandOptions {
  readonly port?: string;
  readonly mac?: Mac;
  readonly full: boolean;
  /** Without the reader on the chip, whatever the config says. */
  readonly plain?: boolean;
  /** Back up a half restored board as it is. */
  readonly halfRestored?: boolean;
  /** Also write the image to this new file. */
  readonly output?: string;
  /** Of a flash whose id does not tell its size, in bytes. */
  readonly flashSize?: number;
}

export async function backup(
  context: CommandContext,
  options: BackupCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  // What speaks to a store is loaded by those alone who have one.
  const elsewhere = context.config.store && (await import('./fleet/stations.ts')).stationsOf(context, env);
  try {
    return await backUp(context, options, elsewhere?.stations);
  } finally {
    elsewhere?.fleet.close();
  }
}

async function backUp(
  context: CommandContext,
  options: BackupCommandOptions,
  stations: OtherStations | undefined,
): Promise<EspdError | undefined> {
  const { archive, out, config, files } = context;
  const { output, flashSize } = options;
  // Before a board is disturbed for it.
  if (output !== undefined) await files.checkNewFile(output);
  const ports =
    options.port === undefined && options.mac !== undefined
      ? [await findBoard(context, options.mac)]
      : await selectPorts(context, options.port);
  if (output !== undefined && ports.length > 1) {
    throw new EspdError('board-ambiguous', `${ports.length} ports may hold boards, but one file is to be written`, {
      hint: 'Name the board with --port or --mac',
    });
  }
  if (flashSize !== undefined && ports.length > 1) {
    throw new EspdError('board-ambiguous', `${ports.length} ports may hold boards, and --flash-size is of one`, {
      hint: 'Name the board with --port or --mac',
    });
  }
  const more = {
    ...(flashSize === undefined ? {} : { toldFlashBytes: flashSize }),
    ...(options.plain === true ? { reader: 'never' as const } : {}),
  };
  const busyMacs = new Set<Mac>();
  const read = (session: Session) => {
    const { mac } = session.board.identity;
    if (options.mac !== undefined) guardMac(session.board.identity, options.mac);
    claim(busyMacs, mac);
    const full = options.full || config.transfer.full;
    const allowHalfRestored = options.halfRestored === true;
    return readFlash(session, { archive, full, reason: 'by-hand', allowHalfRestored, stations });
  };
  const { outcomes, failures } = await onBoards(context, ports, read, (unkept) => unkept.keep(), more);
  for (const outcome of outcomes) {
    printOutcome(context, outcome);
    for (const event of backupEvents(outcome.port, null, outcome.result)) context.onMark(event);
  }
  failures.push(...outcomes.filter(({ result }) => result.left === 'stuck').map(stuckFailure));
  const [first] = outcomes;
  if (output !== undefined && first !== undefined) {
    const error = await copyImage(files, archive, first.result.value.backup, output);
    if (error === undefined) out.line(`Image written to ${output}`);
    else failures.push({ port: first.port.address, mac: first.identity.mac, error });
  }
  const error = overallError(failures, outcomes.length, options.port !== undefined || options.mac !== undefined);
  noteFailures(context, failures, error);
  out.document({
    backups: outcomes.map(outcomeJson),
    failed: failuresJson(failures),
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

function stuckFailure({ port, identity }: Outcome<BackupOutcome>): Failure {
  return { port: port.address, mac: identity.mac, error: stuckError(port) };
}

function outcomeJson({ port, identity, result }: Outcome<BackupOutcome>): object {
  const { backup, transfer, unchanged, chipChange } = result.value;
  return {
    port: port.address,
    mac: identity.mac,
    id: backup.id,
    path: backup.path,
    sizeBytes: backup.manifest.image.sizeBytes,
    sha256: backup.manifest.image.sha256,
    unchanged,
    chipChange,
    transfer: { ...transfer, wireBytes: result.wireBytes, seconds: result.seconds },
  };
}

function printOutcome({ out }: CommandContext, { identity, result }: Outcome<BackupOutcome>): void {
  const { backup, transfer, unchanged, chipChange } = result.value;
  const size = formatSize(backup.manifest.image.sizeBytes);
  out.line(
    unchanged
      ? `${identity.mac}  unchanged since ${backup.id}, verified by the chip`
      : `${identity.mac}  backed up as ${backup.id}, verified by the chip`,
  );
  out.line(
    dim(
      `  ${identity.chipName}, ${size}: ${formatSize(transfer.flashBytesRead)} read, ` +
        `${formatSize(result.wireBytes)} on the wire, ${result.seconds.toFixed(1)} s`,
    ),
  );
  if (chipChange !== null) out.note(`  ${chipChangeText(chipChange)}`);
  if (backup.manifest.flash.sizeFrom === 'person') out.note(`  ${SIZE_TOLD}`);
  if (transfer.loader === 'rom' && transfer.flashBytesRead > 0)
    out.note('  read through the ROM: the flasher stub did not run');
  out.line(dim(`  ${backup.path}`));
}
