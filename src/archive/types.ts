/** What the archive says and takes. The format on disk is FORMAT.md's; the code behind this file keeps its rules. */

import type { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import type { Manifest, ManifestContent } from './manifest.ts';
import type { HalfRestored, RestoreRecordContent } from './restore-record.ts';
import type { CompletedRestore } from './restores.ts';

/** One complete backup: a folder with a backup id as its name. */
export interface Backup {
  readonly mac: Mac;
  /** UTC time, `2026-11-23T10-00-00Z`; sorts by time. */
  readonly id: string;
  readonly path: string;
  readonly manifest: Manifest;
}

/** A "seen unchanged" record: the board's whole flash equalled backup `id` at that time, by the chip's digest. */
export interface Sighting {
  readonly id: string;
  /** ISO 8601 UTC. */
  readonly at: string;
  readonly port: string;
}

/** What the archive knows of one board. Backups are sorted oldest first. */
export interface BoardHistory {
  readonly mac: Mac;
  readonly backups: readonly Backup[];
  readonly sightings: readonly Sighting[];
  /** Folders and files that could not be understood; reported, never touched. */
  readonly problems: readonly ArchiveProblem[];
  /** Set while a restore has begun on this board and not ended: see {@link Archive.beginRestore}. */
  readonly halfRestored: HalfRestored | null;
}

export interface ArchiveProblem {
  readonly mac: Mac | null;
  readonly id: string | null;
  /** Path relative to the archive. */
  readonly file: string;
  /** One sentence fragment: `is missing`, `SHA-256 differs: ...`. */
  readonly problem: string;
  readonly error: EspdError;
}

/** Random access to the flash image of a complete backup, whatever its compression. */
export interface ImageReader {
  readonly sizeBytes: number;
  /** Exactly `length` bytes from `offset`; throws `archive-damaged` where the file is shorter. */
  read(offset: number, length: number): Promise<Buffer>;
  close(): Promise<void>;
}

/**
 * An image in the making: a file of the flash's size under a name that is no backup id. Bytes may be written in any
 * order, and read back. Exactly one of `commit` and `discard` ends it; a crash leaves a folder that the next
 * `begin` for the same board clears away once its process is gone.
 */
export interface Draft {
  readonly mac: Mac;
  readonly sizeBytes: number;
  /** Path of the image file, for readers of its bytes. */
  readonly imagePath: string;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  read(offset: number, length: number): Promise<Buffer>;
  /** Lower-case hex MD5 and SHA-256 of the whole image, computed off the event loop's way in bounded chunks. */
  digests(): Promise<{ md5: string; sha256: string }>;
  /**
   * Makes the backup visible: image, manifest and SHA256SUMS written and fsynced, folders fsynced, one rename, folder
   * fsynced. The id is taken from `content.createdAt`; where the board has a backup of that second or a later one, it
   * is one second after the newest. A commit that fails removes the draft, as does a write that finds the disk full.
   * @throws EspdError `disk-full`, `archive-unwritable`; `digest-mismatch` where `content.confirmed.md5` is not that
   * of the image; `archive-damaged` where the draft does not verify before the rename
   */
  commit(content: ManifestContent): Promise<Backup>;
  /** Removes the draft; never rejects. Nothing after a commit, and while one is at work it waits for it. */
  discard(): Promise<void>;
}

/** `latest`, `first`, a backup id, or an ISO date (the newest backup not after it). */
export type Which = string;

export interface VerifyReport {
  /** Backups whose every file was hashed. */
  readonly checked: number;
  readonly damaged: readonly { mac: Mac | null; id: string | null; file: string; problem: string }[];
}

export interface Archive {
  readonly root: string;
  /** MACs of all boards with a folder, sorted; and what in the archive's root is foreign. */
  boards(): Promise<{ macs: Mac[]; problems: ArchiveProblem[] }>;
  /** The history of one board; empty `backups` for a board never seen. Does not hash images. */
  history(mac: Mac): Promise<BoardHistory>;
  /**
   * A MAC in any notation, to the board that is in the archive.
   * @throws EspdError `archive-unknown-board`, naming the near ones (edit distance, same last three bytes)
   */
  resolveBoard(text: string): Promise<Mac>;
  /**
   * A damaged backup is never passed over in silence: when the one meant is damaged, that is the answer.
   * @throws EspdError `archive-unknown-board`, `archive-unknown-backup`, `archive-damaged` or `archive-newer` when what
   * is asked for is there but cannot be trusted
   */
  resolveBackup(mac: Mac, which: Which): Promise<Backup>;
  /**
   * Opens without hashing; see {@link Archive.verifyBackup}. A compressed image is inflated once, to a file without a
   * name.
   * @throws EspdError `archive-damaged`, `archive-unreadable`, `disk-full`
   */
  openImage(backup: Backup): Promise<ImageReader>;
  /**
   * Re-hashes every file of one backup; the list of problems is empty when it is sound.
   * @throws EspdError `archive-unknown-backup`
   */
  verifyBackup(mac: Mac, id: string, signal?: AbortSignal): Promise<ArchiveProblem[]>;
  /** Re-hashes the archive or one board's part of it. Damage of one backup never stops the others. */
  verify(options: {
    mac?: Mac;
    signal?: AbortSignal;
    onProgress?: (mac: Mac, id: string) => void;
  }): Promise<VerifyReport>;
  /** Makes the archive's folder where it is missing. @throws EspdError `archive-unwritable` */
  checkWritable(): Promise<void>;
  /**
   * Starts an image; creates folders as needed; clears drafts of dead processes.
   * @throws EspdError `archive-unwritable`, `disk-full` (free space is checked against `sizeBytes` first)
   */
  begin(mac: Mac, sizeBytes: number): Promise<Draft>;
  /** Appends a sighting, fsynced. */
  recordSighting(mac: Mac, sighting: Sighting): Promise<void>;
  /** Whether a restore has begun on this board and not ended; null = no. */
  halfRestored(mac: Mac): Promise<HalfRestored | null>;
  /**
   * To be called before the first sector of a board is erased: from now on, also after a crash, the board counts as half
   * restored. On the disk when it resolves. Makes the board's folder where it is missing.
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
