/** What a restore is told, and what it tells in the end. */

import type { Archive, Backup } from '../../archive/types.ts';
import type { Mac } from '../../mac.ts';
import type { Overrides } from './guards.ts';
import type { KeepWish } from './keep.ts';
import type { RestorePart } from './parts.ts';
import type { RestorePlan } from './plan.ts';
import type { Snapshot } from './snapshot.ts';

export interface RestoreOptions {
  readonly archive: Archive;
  /** Chosen by the caller before anything is added to the archive: `latest` never means the snapshot. */
  readonly backup: Backup;
  /** The MAC that the board must have: the backup's own, or another one that the person has typed in full. */
  readonly targetMac: Mac;
  readonly dryRun: boolean;
  /** Absent = the whole flash. */
  readonly part?: RestorePart;
  /** What of the board stays as it is; not together with `part`. */
  readonly keep?: KeepWish;
  readonly overrides?: Partial<Overrides>;
  /** False: what is on the board is not backed up first. Default true. */
  readonly snapshot?: boolean;
  /** The person has been told that no chip has confirmed the image, or is going to be. Default false. */
  readonly unconfirmed?: boolean;
  /** Why this backup, for the plan and the record: `latest of 5`. */
  readonly why?: string;
  /** Told the plan as soon as it is known, when something differs or in a dry run. */
  readonly onPlan?: (plan: RestorePlan) => void;
  /**
   * Asked once the plan is known and something differs; false = leave the board as it is. There is no default: who writes
   * says who has said yes.
   */
  readonly confirm: (plan: RestorePlan) => Promise<boolean>;
  /** What the command line has said, and the command that finishes the restore must say again. */
  readonly command?: { readonly port: string | null; readonly yes: boolean; readonly unconfirmed?: boolean };
}

export interface RestoreOutcome {
  readonly plan: RestorePlan;
  readonly sectorsWritten: number;
  /**
   * The chip's digest of all of `scope` equals the image's, and the rest of the flash is what it was. False only after a
   * dry run with differences.
   */
  readonly verified: boolean;
  readonly scope: 'flash' | 'region';
  /** The backup that holds what was on the board before; null where none was made or wanted. */
  readonly snapshot: Snapshot | null;
  /** This finished an earlier restore that had been interrupted. */
  readonly finished: boolean;
  /** How long `confirm` took: the time of a person, not of the restore. */
  readonly askedSeconds: number;
  readonly transfer: { readonly digestsAsked: number; readonly retries: number; readonly baudRate: number };
}
