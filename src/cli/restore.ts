/** `espd restore`: puts an archived image back on the board with that MAC. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { hexAddress } from '../esp/flash-read.ts';
import { restoreBoard } from '../transfer/restore.ts';
import type { RestorePlan } from '../transfer/restore-plan.ts';
import { stuckError, withBoard } from '../transfer/session.ts';
import { findBoard, selectPorts } from './boards.ts';
import { type CommandContext, sessionOptions } from './context.ts';
import { dim, formatSize, plural } from './text.ts';

export interface RestoreCommandOptions {
  /** As the person typed it: a MAC in any notation. */
  readonly mac: string;
  readonly at: string;
  readonly port?: string;
  /** Another board on purpose, typed in full. */
  readonly to?: Mac;
  readonly dryRun: boolean;
  readonly yes: boolean;
}

export async function restore(context: CommandContext, options: RestoreCommandOptions): Promise<EspdError | undefined> {
  const { archive, out } = context;
  const backup = await archive.resolveBackup(await archive.resolveBoard(options.mac), options.at);
  const [damage] = await archive.verifyBackup(backup.mac, backup.id, context.signal);
  if (damage !== undefined) {
    throw new EspdError(
      'archive-damaged',
      `Backup ${backup.id} of ${backup.mac} is damaged: ${damage.file} ${damage.problem}`,
      {
        hint: `Nothing was written. "espd show ${backup.mac}" lists the other backups; choose one with --at`,
      },
    );
  }
  const targetMac = options.to ?? backup.mac;
  const [port] =
    options.port === undefined ? [await findBoard(context, targetMac)] : await selectPorts(context, options.port);
  if (port === undefined) throw new EspdError('board-not-found', `No board answers as ${targetMac}`);

  const { sizeBytes, sha256 } = backup.manifest.image;
  out.note(
    `Restoring ${backup.mac} from ${backup.id} (${backup.manifest.chip.name}, ${formatSize(sizeBytes)}), verified`,
  );
  const mustAsk = !options.yes && !options.dryRun && out.canAsk;
  const result = await withBoard(port, sessionOptions(context, port.address, true), (session) =>
    restoreBoard(session, {
      archive,
      backup,
      targetMac,
      dryRun: options.dryRun,
      ...(mustAsk
        ? {
            confirm: (plan: RestorePlan) => out.confirm(`${planText(plan)}. Write to ${targetMac} at ${port.address}?`),
          }
        : {}),
    }),
  );
  const { plan, sectorsWritten, transfer, verified } = result.value;
  if (options.dryRun) {
    out.line(plan.sectors === 0 ? `${targetMac} holds this image already` : `${planText(plan)}; nothing was written`);
    for (const region of plan.regions) out.line(`  ${hexAddress(region.offset)}  ${formatSize(region.sizeBytes)}`);
  } else if (sectorsWritten === 0) {
    out.line(`${targetMac}  holds this image already, verified by the chip`);
  } else {
    out.line(`${targetMac}  restored: ${plural(sectorsWritten, 'sector')} written, whole flash verified by the chip`);
    out.line(dim(`  ${formatSize(result.wireBytes)} on the wire, ${result.seconds.toFixed(1)} s`));
  }
  const error = result.left === 'stuck' ? stuckError(port) : undefined;
  out.document({
    mac: targetMac,
    id: backup.id,
    sizeBytes,
    sha256,
    ...(options.dryRun ? { plan } : {}),
    sectorsWritten,
    verified,
    transfer: { ...transfer, wireBytes: result.wireBytes, seconds: result.seconds },
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

function planText(plan: RestorePlan): string {
  return `${plural(plan.sectors, 'sector')} of flash ${plan.sectors === 1 ? 'differs' : 'differ'} (${formatSize(plan.bytes)})`;
}
