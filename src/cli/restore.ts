/** `espd restore`: puts an archived image back on the board with that MAC, or on one that is named in full. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { KeepWish } from '../transfer/restore/keep.ts';
import { guardNamed } from '../transfer/restore/named.ts';
import type { RestorePart } from '../transfer/restore/parts.ts';
import { consentOf } from './consent.ts';
import type { CommandContext } from './context.ts';
import { type PutBackOptions, overridesOf, putBack } from './put-back.ts';
import { restoreMany } from './restore-many.ts';
import { type BoardAndWhich, type NamedBoard, boardAndWhich, chooseBackup } from './restore-which.ts';

export interface RestoreCommandOptions extends NamedBoard, PutBackOptions {
  /** Another board on purpose, typed in full. */
  readonly to?: Mac;
  readonly many?: boolean;
  readonly count?: number;
  readonly partition?: readonly string[];
  readonly offset?: number;
  readonly size?: number;
  /** Partitions of the board that stay as they are. */
  readonly keep?: readonly string[];
  readonly keepCalibration?: boolean;
}

export async function restore(context: CommandContext, options: RestoreCommandOptions): Promise<EspdError | undefined> {
  const meant = checkOptions(options);
  const consent = consentOf(context.out, options);
  const keep = keepOf(options);
  if (options.many === true) {
    const { backup, why } = await chooseBackup(context, meant, null);
    await guardNamed(context.archive, backup, { keep });
    return restoreMany(context, { backup, why, keep, consent }, options);
  }
  const { backup, why } = await chooseBackup(context, meant, options.to ?? 'same');
  const part = partOf(options);
  await guardNamed(context.archive, backup, { part, keep });
  const scope = { keep, ...(part === undefined ? {} : { part }) };
  return putBack(context, { backup, why, targetMac: options.to ?? backup.mac, consent, ...scope }, options);
}

/** What does not go together. @returns the backup that is meant */
function checkOptions(options: RestoreCommandOptions): BoardAndWhich {
  const { from, to, port, wait, many, count, partition, offset, size, snapshot, dryRun } = options;
  const { keep, keepCalibration } = options;
  const refuse = (message: string, hint = '') => new EspdError('usage', message, { hint });
  const meant = boardAndWhich(options);
  if (from !== undefined && to === undefined && many !== true) {
    throw refuse('--from needs a board to write to', 'Name it with --to, or take every board with --many');
  }
  if ((offset === undefined) !== (size === undefined)) throw refuse('--offset and --size go together');
  if (partition !== undefined && offset !== undefined) throw refuse('Give either --partition or --offset and --size');
  if ((keep !== undefined || keepCalibration === true) && (partition !== undefined || offset !== undefined)) {
    throw refuse(
      '--keep does not go together with --partition or --offset',
      'With these nothing else is written anyway; --keep is for a restore of the whole image',
    );
  }
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

function partOf({ partition, offset, size }: RestoreCommandOptions): RestorePart | undefined {
  if (partition !== undefined) return { partitions: partition };
  return offset === undefined || size === undefined ? undefined : { offset, sizeBytes: size };
}

function keepOf({ keep, keepCalibration }: RestoreCommandOptions): KeepWish {
  return { names: keep ?? [], calibration: keepCalibration ?? false };
}
