/** What the decision about each backup is made from, and how it is told. */

import type { Mac } from '../../mac.ts';
import type { BoardMarks } from '../marks/marks.ts';
import type { RestoreRecord } from '../restore-record.ts';
import type { CompletedRestore } from '../restores.ts';

/** One backup, as its folder and the files beside it tell. */
export interface RetentionBackup {
  readonly id: string;
  /** ISO 8601 UTC, what the clock showed; null where the manifest is not understood. */
  readonly createdAt: string | null;
  /** Judged without reading the image. */
  readonly state: 'sound' | 'damaged' | 'unreadable' | 'newer';
  readonly firmware: { readonly name: string; readonly version: string | null } | null;
  /** What its files take on the disk; what copies share on the disk counts for each of them. */
  readonly sizeOnDiskBytes: number;
  /** Null = not pinned. The note may be empty. */
  readonly pin: { readonly note: string | null } | null;
  /** A station that is gone for ever, and of whose pins not all are known; null or absent = none. */
  readonly mayBePinnedBy?: string | null;
  /** Somebody has put a file of their own into its folder, which would go with it. */
  readonly holdsForeign: boolean;
  /** A chip has confirmed the image, when it was made or later. */
  readonly isConfirmed: boolean;
  /** It came out of a file; espd has not read it from a board. */
  readonly isImported: boolean;
}

/** One board. The order of backups does not matter. */
export interface RetentionBoard {
  readonly mac: Mac;
  readonly label: string | null;
  readonly group: string | null;
  readonly backups: readonly RetentionBackup[];
  /** Restores that are done, oldest first. */
  readonly restores: readonly CompletedRestore[];
  /** A restore that has begun and not ended. */
  readonly halfRestored: Pick<RestoreRecord, 'from' | 'snapshot' | 'snapshotIsNew'> | null;
  /** The same at other stations, where it is known; they may be several. */
  readonly halfRestoredElsewhere?: readonly Pick<RestoreRecord, 'from' | 'snapshot' | 'snapshotIsNew'>[];
  /** Why nothing of this board may be removed now, a sentence fragment (`a job is at work on it`); null = no reason. */
  readonly held: string | null;
}

/** What is known of a board besides its backups: enough to judge copies of them that lie elsewhere. */
export interface KnownOfBoard extends Omit<RetentionBoard, 'backups'> {
  readonly marks: Pick<BoardMarks, 'pins' | 'confirmations'>;
  /** What could not be read and may name backups of any board; a sentence fragment each. */
  readonly obstacles: readonly string[];
}

export interface RetentionFacts {
  /** All boards of the archive, in any order: restores name backups of other boards, and a budget is for all. */
  readonly boards: readonly RetentionBoard[];
  /** What could not be read, so that nobody knows what it names; a sentence fragment each. Where one is, nothing goes. */
  readonly obstacles: readonly string[];
  /** The time of this machine, in milliseconds since 1970. */
  readonly nowMs: number;
  /** Only backups of these boards may be removed; absent = of all. */
  readonly only?: ReadonlySet<Mac>;
}

/** Why a backup can never be removed by a policy. */
export type Protection =
  | 'clock'
  | 'obstacle'
  | 'not-asked'
  | 'held'
  | 'damaged'
  | 'unreadable'
  | 'newer-format'
  | 'foreign'
  | 'unconfirmed'
  | 'first'
  | 'newest'
  | 'latest'
  | 'pinned'
  | 'maybe-pinned'
  | 'restoring'
  | 'before-restore'
  | 'restored';

/** Which rule keeps a backup. */
export type Rule =
  | 'keep-last'
  | 'keep-hourly'
  | 'keep-daily'
  | 'keep-weekly'
  | 'keep-monthly'
  | 'keep-yearly'
  | 'keep-within'
  | 'keep-per-firmware';

/** What `archive.local` says: it stays here; it need not. And why it stays here after all: the store does not have it safely. */
export type LocalReason = 'local' | 'not-local' | 'not-stored';

export type ReasonCode = Protection | Rule | LocalReason | 'no-policy' | 'fits' | 'no-rule' | 'over-budget';

/** `text` is a sentence fragment without a full stop. It may hold texts of devices or persons: not yet printable. */
export interface Reason {
  readonly code: ReasonCode;
  readonly text: string;
}

/** What becomes of one backup, and every reason for it; never without one. */
export interface Decision {
  readonly mac: Mac;
  readonly id: string;
  readonly stays: boolean;
  readonly reasons: readonly Reason[];
  readonly sizeOnDiskBytes: number;
}

export interface RetentionPlan {
  /** Sorted by MAC, then by id. */
  readonly decisions: readonly Decision[];
  /** What all backups take now. */
  readonly totalBytes: number;
  /** What those that go take. */
  readonly freedBytes: number;
  /** By how much the backups that stay are above `maxBytes`; 0 = they fit, or there is no limit. */
  readonly overBudgetBytes: number;
  /** Why nothing at all may be removed now; also among the reasons of every backup. */
  readonly blocked: readonly Reason[];
  /** Boards and groups that the policy has a rule for, and that the archive does not know. */
  readonly unmatched: readonly string[];
}
