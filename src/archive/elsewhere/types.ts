/**
 * What this archive knows of backups that lie in an object store, made here or by other stations, and of what other
 * stations have noted. It is noted in the boards' folders (FORMAT.md), so it is known without a network.
 */

import { EspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { Backup } from '../backup.ts';
import type { Manifest } from '../manifest.ts';

/** A backup that is complete in a store. */
export interface StoredBackup {
  readonly mac: Mac;
  readonly id: string;
  /** Which store: 16 hex digits that stand for endpoint, bucket and prefix. */
  readonly store: string;
  /** Key of its folder behind the prefix: `50-02-…/ID/` or `stations/NAME/50-02-…/ID/`. */
  readonly folder: string;
  /** Name of the station that has put it there. */
  readonly station: string;
  /** Of the bytes of manifest.json, before any encryption. */
  readonly manifestSha256: string;
  readonly manifest: Manifest;
  /** When it was noted as complete there, ISO 8601 UTC. */
  readonly at: string;
}

/** What says that a backup is not in a store any more. */
export interface GoneBackup extends Pick<StoredBackup, 'mac' | 'id' | 'store' | 'folder' | 'at'> {
  /** It was found missing: no station has said that it removed it. */
  readonly isMissing?: boolean;
}

/** The same, with what it was as far as that was noted before; null = nothing was. */
export interface NotedGone extends GoneBackup {
  readonly manifestSha256: string | null;
}

/** Files of marks that all stations of a fleet share. */
export const REPLICATED_MARKS = [
  'labels.jsonl',
  'pins.jsonl',
  'seen.jsonl',
  'restored.jsonl',
  'confirmed.jsonl',
  'halves.jsonl',
] as const;
export type MarkFile = (typeof REPLICATED_MARKS)[number];

/** Lines of a file of marks that this station has made. */
export interface OwnLines {
  readonly lines: readonly object[];
  /** Where the next call goes on. */
  readonly nextByte: number;
  /** What stands before that, as `tailOf` (tail.ts) has it. */
  readonly tail: string;
}

/**
 * All that is taken in is checked as what it is: written by others. What does not fit rejects with `usage` in `note` and
 * `forget`, and is left out in `receive`. Writing rejects with `archive-unwritable` or `disk-full`; what was written is on the disk.
 */
export interface ArchiveElsewhere {
  /**
   * Backups of a board that lie in a store, oldest first, also those that are here too. Of one id there may be several: by
   * two stations in the same second. Empty where nothing is noted or it cannot be read.
   */
  of(mac: Mac): Promise<readonly StoredBackup[]>;
  /** What was in a store and is not there any more; of one that was put there again nothing. Empty as {@link of}. */
  gone(mac: Mac): Promise<readonly NotedGone[]>;
  /**
   * Takes it in; the board's folder is made where it is missing. Of what is said of one folder in a store the newest `at`
   * counts, in whatever order it comes. A caller who asks the store again and again notes only what {@link of} lacks.
   * @returns false: that was known
   */
  note(backup: StoredBackup): Promise<boolean>;
  /** It is not in the store any more. @returns false: that was known, or something newer is */
  forget(gone: GoneBackup): Promise<boolean>;
  /**
   * Appends lines of another station to a file of marks; the board's folder is made where it is missing. Lines that are
   * there already, or are none of that file, are left out.
   * @param station its name, of `A-Za-z0-9_-`, at most 64 characters
   * @returns how many were new
   */
  receive(mac: Mac, file: MarkFile, station: string, lines: readonly unknown[]): Promise<number>;
  /**
   * This station's own lines from a byte of the file on. A line that is not yet ended is left for the next time; where
   * `fromByte` is no beginning of a line, or has another `tail` before it (the file is another one, or an older one that
   * has grown again), it begins anew at 0.
   * @throws EspdError `archive-unreadable`
   */
  ownLines(mac: Mac, file: MarkFile, fromByte: number, tail?: string): Promise<OwnLines>;
  /**
   * Makes a complete local backup out of what a store gives: the manifest, and the image file as it is stored, which `fill`
   * writes in any order. All of it is hashed as `verify` does before anybody can see it. What is here with the same content
   * is returned as it is.
   * @throws EspdError `archive-damaged`, `archive-newer` where it is no sound backup of this name; `archive-taken` where
   *   another one has its name; `disk-full`, `archive-unwritable`; what `fill` throws; the signal's reason
   */
  adopt(backup: Adoption, fill: Fill, signal?: AbortSignal): Promise<Backup>;
  /**
   * Removes the local copy of a backup, which lies in a store as well: the caller has asked the store just now. Judged anew
   * just before: nothing that retention protects goes, but for the first backup of a board and for imported ones. This is no
   * removal, and nothing is noted.
   * @returns false where it stays, or is not here
   * @throws EspdError `archive-unwritable`
   */
  release(mac: Mac, id: string): Promise<boolean>;
}

/** Writes bytes of the image file to a place in it. */
export type Fill = (write: (offset: number, bytes: Uint8Array) => Promise<void>) => Promise<void>;

export interface Adoption {
  readonly mac: Mac;
  readonly id: string;
  /** The bytes of manifest.json. */
  readonly manifest: Buffer;
  /** Name of the image file. */
  readonly imageFile: string;
  /** Length of that file, compressed as it may be. */
  readonly imageBytes: number;
}

/** A backup that is meant lies in a store alone. */
export class ElsewhereError extends EspdError {
  readonly mac: Mac;
  readonly id: string;
  /** Which of several of this id: the one in this folder; null = the one that the id means. */
  readonly folder: string | null;

  constructor({ mac, id, station }: Pick<StoredBackup, 'mac' | 'id' | 'station'>, folder: string | null = null) {
    super('archive-elsewhere', `Backup ${id} of ${mac} is not here; ${station} has put it into the object store`, {
      hint: `Fetch it with: espd pull ${mac}@${id}${folder === null ? '' : `@${station}`}`,
    });
    this.mac = mac;
    this.id = id;
    this.folder = folder;
  }
}
