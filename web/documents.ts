/** Documents of the API as far as the page uses them; docs/json.md and docs/api.md tell what each field means. */

import type { FlashComparison } from '../src/firmware/compare/types.ts';

/** An error as the API and events have it. */
export interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

export interface ChipChange {
  readonly kind: 'chip' | 'flash';
  readonly details: readonly string[];
}

export interface HalfRestored {
  readonly from: { readonly mac: string; readonly id: string } | null;
  readonly startedAt: string | null;
  readonly snapshot: string | null;
  /** Where it was begun; absent = here. */
  readonly station?: string;
}

export interface BoardRow {
  readonly mac: string;
  readonly label: string | null;
  readonly note: string | null;
  readonly group: string | null;
  readonly chip: string | null;
  readonly sizeBytes: number | null;
  readonly backups: number;
  readonly first: string | null;
  readonly latest: string | null;
  readonly lastSeen: string | null;
  /** The station; null where that is this one. */
  readonly lastSeenBy: string | null;
  /** How many backups lie here and in the object store; null without one. */
  readonly places: { readonly here: number; readonly store: number; readonly both: number } | null;
  /** Name and version in one text. */
  readonly firmware: string | null;
  readonly chipChange: ChipChange | null;
  readonly halfRestored: HalfRestored | null;
  readonly isDamaged?: boolean;
}

export interface BoardsDocument {
  readonly boards: readonly BoardRow[];
  readonly total: number;
  readonly problems: readonly { readonly mac: string | null; readonly file: string; readonly problem: string }[];
}

export interface Firmware {
  readonly name: string;
  readonly version: string | null;
}

export interface BackupRow {
  readonly id: string;
  readonly sha256: string;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly reason: string | null;
  readonly pinned: { readonly at: string; readonly note: string | null } | null;
  readonly confirmed: object | null;
  readonly chipChange: ChipChange | null;
  readonly firmware: Firmware | null;
  readonly partitions: readonly PartitionRow[] | null;
  readonly stored: { readonly station: string } | null;
  readonly seenUnchanged: readonly string[];
}

/** A backup that lies in the object store, and not here. */
export interface ElsewhereRow {
  readonly id: string;
  readonly station: string;
  readonly sizeBytes: number;
  readonly createdAt: string;
  readonly firmware: Firmware | null;
  readonly pinned: { readonly note: string | null } | null;
  readonly isTaken: boolean;
  /** Its id, or what else names it. */
  readonly name: string;
}

export interface BoardDocument {
  readonly board: BoardRow;
  readonly backups: readonly BackupRow[];
  readonly elsewhere: readonly ElsewhereRow[];
  readonly removed: readonly { readonly at: string; readonly id: string; readonly why: string }[];
  readonly restores: readonly PastRestore[];
  readonly problems: readonly { readonly file: string; readonly problem: string }[];
}

/** A restore of this board that is done, oldest first. */
export interface PastRestore {
  readonly at: string;
  readonly from: { readonly mac: string; readonly id: string };
  /** The backup of what was there before; null where none was made. */
  readonly snapshot: string | null;
  readonly partial: boolean;
}

/** What a board takes on the disk. */
export interface SizesDocument {
  readonly diskBytes: number | null;
  readonly sharedBytes: number | null;
  readonly backups: readonly { readonly id: string; readonly diskBytes: number }[];
}

export interface PartitionRow {
  readonly name: string;
  readonly type: string;
  readonly subtype: string;
  readonly offset: number;
  readonly sizeBytes: number;
  readonly encrypted?: boolean;
}

interface DiffSide {
  readonly mac: string;
  readonly id: string;
  readonly createdAt: string;
}

export interface DiffDocument extends FlashComparison {
  readonly before: DiffSide;
  readonly after: DiffSide;
}

/** The plan of a restore. */
export interface PlanDocument {
  readonly sectors: number;
  readonly bytes: number;
  readonly parts: readonly {
    readonly name: string;
    readonly kind: string;
    readonly sectors: number;
    readonly from: number;
    readonly to: number;
  }[];
  readonly scope: readonly { readonly name: string | null }[] | null;
  readonly kept: { readonly parts: readonly { readonly name: string | null }[]; readonly notes: readonly string[] };
  readonly backup: {
    readonly mac: string;
    readonly id: string;
    readonly createdAt: string;
    readonly why: string;
    readonly chip: string;
    readonly firmware: Firmware | null;
    readonly sizeBytes: number;
    readonly confirmed: boolean;
  };
  readonly board: { readonly mac: string; readonly chip: string; readonly revision: string; readonly port: string };
  readonly estimate: { readonly seconds: number };
  readonly risks: readonly string[];
  readonly snapshot:
    | { readonly kind: 'made' }
    | { readonly kind: 'exists'; readonly id: string }
    | { readonly kind: 'none'; readonly because: string };
  readonly halfRestored: { readonly snapshot: string | null } | null;
}

export interface RestoreDocument {
  readonly mac: string;
  readonly id: string;
  readonly sectorsWritten: number;
  readonly verified: boolean;
  readonly snapshot: string | null;
  readonly finished: boolean;
  readonly transfer?: { readonly seconds: number };
  readonly error?: Told;
}

/** One board of a restore onto many. */
export interface ManyBoard {
  readonly verdict: 'pass' | 'fail' | 'skip';
  readonly port: string | null;
  readonly mac: string | null;
  readonly sectorsWritten?: number;
  readonly error?: Told | null;
}

export interface RetentionDocument {
  readonly policy?: object | null;
  readonly backups: readonly {
    readonly mac: string;
    readonly id: string;
    readonly stays: boolean;
    readonly reasons: readonly { readonly code: string; readonly text: string }[];
    readonly sizeOnDiskBytes: number | null;
  }[];
  readonly totalBytes?: number;
  readonly freedBytes?: number;
  readonly overBudgetBytes?: number;
  readonly blocked?: readonly { readonly text: string }[];
}

export interface SchedulesDocument {
  readonly timezone: string;
  readonly schedules: readonly {
    readonly name: string;
    readonly cron: string | null;
    readonly nextRun: string | null;
  }[];
}

export interface DoctorDocument {
  readonly ok: boolean;
  readonly checks: readonly {
    readonly id: string;
    readonly status: string;
    readonly title: string;
    readonly detail?: string;
    readonly fix?: { readonly command: string; readonly safe: boolean };
  }[];
}
