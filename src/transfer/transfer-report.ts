/** What a job says of how the bytes of a backup came. */

import type { Board } from '../esp/board.ts';
import type { Region } from '../flash.ts';
import type { TransferReport } from './backup-manifest.ts';
import type { DigestPlan, ExplainedRegion } from './digest-plan.ts';
import type { Explanation } from './known-content.ts';

export function transferReport(
  board: Board,
  counts: Pick<TransferReport, 'flashBytesRead' | 'digestsAsked'>,
  plan: DigestPlan<Explanation>,
  phases: TransferReport['phases'],
): TransferReport {
  const reader = board.readerReport;
  return {
    loader: board.loaderKind,
    ...counts,
    explained: explainedBytes(plan.explained),
    plan: planOf(plan),
    retries: board.retries,
    recovery: board.recovery,
    baudRate: board.baudRate,
    phases,
    ways: { ...board.loaderBytes, plain: reader?.plainBytes ?? 0, compressed: reader?.compressedBytes ?? 0 },
    reader,
  };
}

/** What the regions of a plan come from, in order. */
function planOf({ explained, unexplained }: DigestPlan<Explanation>): TransferReport['plan'] {
  const read = unexplained.map((region) => ({ ...region, by: 'read' as const }));
  return [...explained, ...read].sort((one, other) => one.offset - other.offset);
}

export function explainedBytes(regions: readonly ExplainedRegion<Explanation>[]): TransferReport['explained'] {
  const of = (by: Explanation) => bytesIn(regions.filter((region) => region.by === by));
  return {
    blank: of('blank'),
    zero: of('zero'),
    sameAsBackup: of('sameAsBackup'),
    olderBackup: of('olderBackup'),
    leftover: of('leftover'),
    fleet: of('fleet'),
  };
}

export function bytesIn(regions: readonly Region[]): number {
  return regions.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
