/** What the archive says and takes. The format on disk is FORMAT.md's; the code behind this file keeps its rules. */

import type { Mac } from '../mac.ts';
import type { Backup, Sighting } from './backup.ts';
import type { ChipChangeSince } from './chip-change.ts';
import type { ElsewhereGlance, ManifestGlance } from './elsewhere/places.ts';
import type { ArchiveElsewhere, StoredBackup } from './elsewhere/types.ts';
import type { ManifestContent } from './manifest.ts';
import type { Confirmation } from './marks/events.ts';
import type { AboutChange, BoardAbout, BoardMarks, Pin } from './marks/marks.ts';
import type { HalfRestored, RestoreRecordContent } from './restore-record.ts';
import type { CompletedRestore } from './restores.ts';
import type { ArchiveProblem, ForeignEntry } from './reported.ts';
import type { LocalPolicy } from './retention/local.ts';
import type { RetentionPolicy } from './retention/policy.ts';
import type { Decision, KnownOfBoard, RetentionPlan } from './retention/types.ts';
import type { Sample } from './sample.ts';
import type { ArchiveSizer } from './size-types.ts';
import type { Which } from './which.ts';

export type { ArchiveProblem, ForeignEntry } from './reported.ts';
export type { Backup, Sighting } from './backup.ts';
export type { Which } from './which.ts';

/** What the archive knows of one board. Backups are sorted oldest first. */
export interface BoardHistory {
  readonly mac: Mac;
  readonly backups: readonly Backup[];
  readonly sightings: readonly Sighting[];
  /** What is damaged, missing, or cannot be read; reported, never touched. */
  readonly problems: readonly ArchiveProblem[];
  /** In the board's folder and in those of its backups. */
  readonly foreign: readonly ForeignEntry[];
  /** Set while a restore has begun on this board and not ended: see {@link Archive.beginRestore}. */
  readonly halfRestored: HalfRestored | null;
  /** Backups that lie in a store and not here, oldest first. One may have the id of a backup here that is another. */
  readonly elsewhere: readonly StoredBackup[];
  /** Of `backups` those that lie in a store as well, by id. */
  readonly stored: ReadonlyMap<string, StoredBackup>;
  /** Nothing noted where they cannot be read, which `problems` then says. */
  readonly marks: BoardMarks;
}

/** Of a backup what is shown of two thousand boards at once: nothing that is long. */
export interface BackupGlance extends Omit<Backup, 'manifest'> {
  readonly manifest: ManifestGlance;
}

export interface OverviewOptions {
  readonly signal?: AbortSignal | undefined;
  /** After each board. */
  readonly onProgress?: ((done: number, of: number) => void) | undefined;
  /** Takes all threads of Node's pool: sooner done, for a process that has no port open, which would wait for one. */
  readonly allThreads?: boolean | undefined;
  /** Of these boards alone, each looked at anew: those that the archive does not have are left out. Absent = of all. */
  readonly only?: ReadonlySet<Mac> | undefined;
}

/** A board at a glance: {@link Archive.overview}. */
export interface BoardOverview {
  readonly mac: Mac;
  /** Everything with a backup id as its name, sound or not, oldest first. */
  readonly ids: readonly string[];
  /** The newest backup that looks sound; null where none of the newest three does. */
  readonly newest: BackupGlance | null;
  /** What says that `newest` is of another chip than the backup before it; null where nothing does. */
  readonly chipChange: ChipChangeSince | null;
  /** The latest sighting. */
  readonly seen: Sighting | null;
  /** Of the board's folder and the backups that were looked at for `newest`. */
  readonly problems: readonly ArchiveProblem[];
  readonly foreign: readonly ForeignEntry[];
  readonly halfRestored: HalfRestored | null;
  /** Restores of it are on record: its newest backup may be a snapshot of before, and not what is on it. */
  readonly wasRestored: boolean;
  /** How a person calls it. */
  readonly about: BoardAbout;
  /** What lies in a store; null for nothing. */
  readonly elsewhere: ElsewhereGlance | null;
}

/** What a backup of a board has to be compared with, and no more: one manifest was read, however many there are. */
export interface LatestBackup {
  readonly mac: Mac;
  /** Of everything with a backup id as its name, sound or not, oldest first. */
  readonly ids: readonly string[];
  /** The newest backup that can be understood; undefined where there is none. */
  readonly backup: Backup | undefined;
  /** Why what is newer than `backup` cannot be understood, and why the board's folder cannot be read. */
  readonly problems: readonly ArchiveProblem[];
}

/** Random access to the flash image of a complete backup, whatever its compression. */
export interface ImageReader {
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`; throws `archive-damaged` where the file is shorter. */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/** An image that a board's flash may equal in parts. Its bytes prove nothing until a digest of the chip says the same. */
export interface Candidate {
  readonly kind: 'leftover' | 'newest' | 'older' | 'fleet';
  readonly mac: Mac;
  /** Backup id; null for a leftover. */
  readonly id: string | null;
  readonly sizeBytes: number;
  /**
   * MD5 of block `index` of 64 KiB, as the manifest says; of several blocks one behind the other. Undefined where unknown
   * (leftover) or behind the end.
   */
  blockMd5(index: number, count?: number): string | undefined;
  /**
   * Opens lazily. Undefined where the image cannot be read (damaged, gone, no rights, no room to inflate it), which is
   * logged once and stays so; also beyond its end, and after `close`.
   */
  read(offset: number, length: number): Promise<Buffer | undefined>;
}

/** Few of their files are open at a time. */
export interface Candidates {
  /** This board's newest backups, at most 16, newest first; then the newest of every other board, the last one made first. */
  readonly list: readonly Candidate[];
  close(): Promise<void>;
}

/**
 * An image in the making: a file of the flash's size under a name that is no backup id. Bytes may be written in any
 * order, and read back. Exactly one of `commit`, `setAside` and `discard` ends it; a crash leaves a folder that the next
 * `begin` for the same board takes over once its process is gone.
 */
export interface Draft {
  readonly mac: Mac;
  readonly sizeBytes: number;
  /**
   * What interrupted backups of this board have left, when the flash had the same size; parts never written are 0x00.
   * Ends with the draft.
   */
  readonly leftover: Candidate | null;
  /** Path of the image file, for readers of its bytes. */
  readonly imagePath: string;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  read(offset: number, length: number): Promise<Buffer>;
  /** Lower-case hex digests of the whole image and of each 64 KiB block, computed off the event loop. */
  digests(signal?: AbortSignal): Promise<{ md5: string; sha256: string; blocksMd5: readonly string[] }>;
  /**
   * Makes the backup visible: image, manifest and SHA256SUMS written and fsynced, folders fsynced, one rename, folder
   * fsynced. The id is taken from `content.createdAt`; where the board has a backup of that second or a later one, it
   * is one second after the newest. An imported image has the id of its date, or the next one that is free. A commit
   * that fails removes the draft, as does a write that finds the disk full.
   * @throws EspdError `disk-full`, `archive-unwritable`; `digest-mismatch` where `content.confirmed.md5` is not that
   * of the image; `archive-damaged` where the draft does not verify before the rename
   */
  commit(content: ManifestContent): Promise<Backup>;
  /**
   * Ends the draft, but keeps its bytes for the next `begin` of this board as {@link Draft.leftover}; never rejects.
   * Where nothing was written, or it cannot be kept, this is `discard`; a commit under way is waited for.
   */
  setAside(): Promise<void>;
  /** Removes the draft; never rejects. Nothing after a commit, and while one is at work it waits for it. */
  discard(): Promise<void>;
}

/** All from 1. */
export interface VerifyPlace {
  readonly board: number;
  readonly boards: number;
  readonly backup: number;
  readonly backups: number;
}

export interface VerifyReport {
  /** Backups that were hashed, sound or not: all but those of which something could not be read. */
  readonly checked: number;
  /** Of a sample: how many backups it was taken from. */
  readonly of?: number;
  readonly damaged: readonly ArchiveProblem[];
  /** What could not be read, or is of a newer format: nothing is known of its content. */
  readonly unreadable: readonly ArchiveProblem[];
  readonly foreign: readonly ForeignEntry[];
  /** The signal has ended it: this is what was found until then. */
  readonly isBrokenOff?: true;
}

/** Files that can be made again from elsewhere: may be lost at any time, and are never worth a failure. */
export interface ArchiveCache {
  /**
   * Undefined for what is not there, cannot be read or has more than 64 MiB. After a power loss the content may be
   * anything: the reader has to judge it.
   */
  read(name: string): Promise<Buffer | undefined>;
  /** Replaces the file as a whole, the last writer wins. Nothing where the archive does not exist yet. */
  write(name: string, bytes: Uint8Array | string): Promise<void>;
}

/**
 * What is noted beside the backups; never inside them. Boards without a folder have no marks.
 * Reading rejects with `archive-unreadable` or `archive-damaged`, adding with `archive-unwritable`, `disk-full` or
 * `archive-unknown-board`; what was added is on the disk.
 */
export interface ArchiveMarks {
  of(mac: Mac): Promise<BoardMarks>;
  about(mac: Mac): Promise<BoardAbout>;
  /** Of most boards none: this asks for one file alone. */
  pins(mac: Mac): Promise<readonly Pin[]>;
  /** Of all boards that have one; those that cannot be read are left out. */
  labels(): Promise<ReadonlyMap<Mac, string>>;
  /** @param change texts as {@link checkLabel} gives them */
  describe(mac: Mac, change: AboutChange): Promise<void>;
  pin(mac: Mac, id: string, pin: { readonly pinned: boolean; readonly note: string | null }): Promise<void>;
  /** A chip has given the MD5 of an image that came from elsewhere. */
  confirm(mac: Mac, confirmation: Confirmation): Promise<void>;
}

/** What {@link ArchiveRetention.remove} did; `spared` has the reasons why they stay after all. */
export interface PruneReport {
  readonly removed: readonly Decision[];
  readonly spared: readonly Decision[];
}

/** Removing backups that no policy keeps: the only way in which one is removed. */
export interface ArchiveRetention {
  /**
   * What becomes of each backup by a policy. Changes nothing.
   * @param options.only boards of which backups may go; absent = all. Of the others the plan may know the newest alone
   * @throws EspdError as {@link Archive.checkReadable}; the signal's reason
   */
  plan(
    policy: RetentionPolicy,
    options?: {
      readonly only?: ReadonlySet<Mac>;
      readonly signal?: AbortSignal;
      readonly onProgress?: (done: number, of: number) => void;
    },
  ): Promise<RetentionPlan>;
  /**
   * Which local copies need not stay here, if they are safe in the object store: nobody has asked it yet. Changes nothing.
   * @throws EspdError as {@link ArchiveRetention.plan}
   */
  planLocal(policy: LocalPolicy, options?: Parameters<ArchiveRetention['plan']>[1]): Promise<RetentionPlan>;
  /**
   * Marks and records of restores of these boards, of all stations as far as they are known here; in the order of `macs`.
   * What cannot be read is an obstacle, or holds its board. @throws the signal's reason
   */
  known(macs: readonly Mac[], signal?: AbortSignal): Promise<readonly KnownOfBoard[]>;
  /**
   * Removes what a plan lets go. Just before, each is judged anew: what has become one of those that are never removed
   * (pinned a second ago, named by a restore that has just begun) is spared. A backup goes as a whole, and what is gone is
   * noted. Also clears what a crash has left of removals.
   * @throws EspdError `archive-unwritable`; the signal's reason, with nothing half done
   */
  remove(
    plan: Pick<RetentionPlan, 'decisions'>,
    options?: {
      readonly signal?: AbortSignal;
      readonly onRemoved?: (decision: Decision) => void;
      readonly onSpared?: (decision: Decision) => void;
    },
  ): Promise<PruneReport>;
}

export interface Archive {
  readonly root: string;
  readonly marks: ArchiveMarks;
  readonly retention: ArchiveRetention;
  readonly sizes: ArchiveSizer;
  readonly elsewhere: ArchiveElsewhere;
  /** Names are `[a-z0-9.-]+` and begin with a letter or digit. Neither call rejects. */
  readonly cache: ArchiveCache;
  /**
   * MACs of all boards with a folder or an unfinished restore, sorted; what stands in the place of one; and what else is
   * in the archive's root.
   * @throws EspdError as {@link Archive.checkReadable}
   */
  boards(): Promise<{ macs: Mac[]; problems: ArchiveProblem[]; foreign: ForeignEntry[] }>;
  /**
   * All boards at a glance, sorted by MAC; reads the newest two manifests of each, and of the older backups only the
   * names. A board that cannot be read, or was removed meanwhile, has no ids; problems and foreign entries of the archive's own
   * folder stand beside.
   * @throws EspdError as {@link Archive.checkReadable}; the signal's reason, at once
   */
  overview(options?: OverviewOptions): Promise<{
    boards: BoardOverview[];
    problems: readonly ArchiveProblem[];
    foreign: readonly ForeignEntry[];
  }>;
  /** The history of one board; empty `backups` for a board never seen. Does not hash images. */
  history(mac: Mac): Promise<BoardHistory>;
  /** The newest backup of one board: what {@link Archive.history} would say of it, without reading the others. */
  latest(mac: Mac): Promise<LatestBackup>;
  /**
   * Backups of one board that can be understood, newest first, each read when it is asked for: for a caller who stops
   * when it has found what it looks for. None where the folder cannot be read.
   */
  newestFirst(mac: Mac): AsyncGenerator<Backup, void, undefined>;
  /**
   * A MAC in any notation, or a label, to the board that is in the archive.
   * @throws EspdError `archive-unknown-board`, naming the near ones (edit distance, same last three bytes);
   * `label-ambiguous`
   */
  resolveBoard(text: string): Promise<Mac>;
  /**
   * Ids of everything that this board has as a backup, sound or not, sorted.
   * @throws EspdError `archive-unknown-board`, `archive-unreadable`
   */
  backupIds(mac: Mac): Promise<readonly string[]>;
  /**
   * A damaged backup is never passed over in silence: when the one meant is damaged, that is the answer. Backups that lie in
   * a store alone are candidates, too; where one has the id of a backup that is here, that one is meant, and the other is
   * called `ID@STATION`.
   * @throws EspdError `archive-unknown-board`, `archive-unknown-backup`, `archive-damaged` or `archive-newer` when what
   * is asked for is there but cannot be trusted; {@link ElsewhereError} where it is in a store alone
   */
  resolveBackup(mac: Mac, which: Which): Promise<Backup>;
  /**
   * Opens without hashing; see {@link Archive.verifyBackup}. A compressed image is inflated once, to a file without a
   * name.
   * @throws EspdError `archive-damaged`, `archive-unreadable`, `disk-full`
   */
  openImage(backup: Backup): Promise<ImageReader>;
  /**
   * Re-hashes every file of one backup; the list of problems is empty when it is sound. Foreign entries beside its files
   * are none; {@link Archive.history} tells of them.
   * @throws EspdError `archive-unknown-backup`
   */
  verifyBackup(mac: Mac, id: string, signal?: AbortSignal): Promise<readonly ArchiveProblem[]>;
  /**
   * Re-hashes the archive, one board's part of it, or a sample. Damage of one backup never stops the others. When each
   * was verified is noted in the cache, so that what was not for longest can come first. Where the signal ends it, it
   * resolves to what it has found by then; it rejects while it is still listing.
   * @param options.sample so much only, what was verified longest ago first
   * @param options.pass go on with the pass through the archive that was broken off, or begin one: what was verified
   *   since its beginning is left out, and what was verified longest ago comes first
   * @param options.onProgress before each backup: which it is, and the how manieth board and backup of how many
   * @param options.onProblem as soon as one is found
   * @param options.between after each backup, waited for; how long that one took, in ms
   */
  verify(options: {
    mac?: Mac;
    sample?: Sample;
    pass?: boolean;
    signal?: AbortSignal;
    onProgress?: (mac: Mac, id: string, place: VerifyPlace) => void;
    onProblem?: (problem: ArchiveProblem) => void;
    between?: (tookMs: number) => Promise<void>;
  }): Promise<VerifyReport>;
  /** When the pass began that was broken off (`verify` with `pass`), ms since 1970; null where there is none. */
  unfinishedPass(): Promise<number | null>;
  /**
   * For commands that only read: a missing archive is no empty one.
   * @throws EspdError `archive-missing`, `archive-unreadable`
   */
  checkReadable(): Promise<void>;
  /** Makes the archive's folder where it is missing. @throws EspdError `archive-unwritable` */
  checkWritable(): Promise<void>;
  /**
   * Starts an image; creates folders as needed; drafts of dead processes become the leftover or are removed.
   * @throws EspdError `archive-unwritable`, `disk-full` (free space is checked against `sizeBytes` first)
   */
  begin(mac: Mac, sizeBytes: number): Promise<Draft>;
  /**
   * Images that this board's flash may equal in parts.
   * @throws the signal's reason, and nothing else: a fault leaves the list shorter
   */
  candidates(mac: Mac, options?: { signal?: AbortSignal }): Promise<Candidates>;
  /**
   * Looks at all boards for what {@link Archive.candidates} wants to know of the fleet, slowly, so that for half an hour
   * no backup waits for that. @throws the signal's reason, and nothing else
   */
  lookAround(signal?: AbortSignal): Promise<void>;
  /** Appends a sighting, fsynced. What an interrupted backup left of the board is of no use any more, and is removed. */
  recordSighting(mac: Mac, sighting: Sighting): Promise<void>;
  /**
   * Whether a restore has begun on this board and not ended; null = no.
   * @throws EspdError `archive-unreadable` where that cannot be told
   */
  halfRestored(mac: Mac): Promise<HalfRestored | null>;
  /** Set while the archive's file system takes no writes, whoever asks: where the record of a restore then goes. */
  readOnly(): Promise<{ readonly recordFolder: string | null } | null>;
  /**
   * To be called before the first sector of a board is erased: from now on, also after a crash, the board counts as half
   * restored. On the disk when it resolves. Makes the board's folder where it is missing.
   * While the archive is read-only, the record is kept in a folder of this user's state.
   * @throws EspdError `archive-unwritable`, `disk-full`
   */
  beginRestore(content: RestoreRecordContent): Promise<void>;
  /**
   * The board is whole again: `done` when the chip has confirmed what was to be written, which is then noted among
   * {@link Archive.restores}. Nothing where no restore had begun.
   * @throws EspdError `archive-unwritable`, `disk-full`
   */
  endRestore(mac: Mac, outcome: 'done' | 'nothing-written'): Promise<void>;
  /** Restores of this board that are done, oldest first; lines that are none are passed over. */
  restores(mac: Mac): Promise<readonly CompletedRestore[]>;
}
