/** The archive of one folder: dated flash images by MAC. FORMAT.md has the format, `types.ts` the contract. */

import { constants } from 'node:fs';
import * as nodeFs from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Clock } from '../clock.ts';
import { EspdError, hasCode, systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macFromFolder, macToFolder, parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { BlockIndex } from './block-index.ts';
import { CACHE, FolderCache } from './cache.ts';
import { makeCandidates } from './candidates.ts';
import { Disk, readFault, toWriteError } from './disk.ts';
import type { FileSystem } from './disk.ts';
import { createDraft } from './draft.ts';
import { inspectFolder, verifyFolder } from './folder.ts';
import type { Finding } from './folder.ts';
import { ImageHasher } from './hasher.ts';
import { isBackupId } from './ids.ts';
import { openStoredImage } from './image.ts';
import { currentOwner, draftName, draftOwner, isPartialName, isTrashName } from './owner.ts';
import type { Owner } from './owner.ts';
import { removePartials } from './partials.ts';
import { printable } from '../printable.ts';
import { RESTORE_RECORD } from './restore-record.ts';
import type { HalfRestored, RestoreRecordContent } from './restore-record.ts';
import { RestoreStore } from './restore-store.ts';
import { RESTORES } from './restores.ts';
import type { CompletedRestore } from './restores.ts';
import { SIGHTINGS, appendSighting, readSightings } from './sightings.ts';
import type { Archive, ArchiveProblem, Backup, BoardHistory, Candidates, Draft, ImageReader } from './types.ts';
import type { Sighting, VerifyReport, Which } from './types.ts';
import { selectId, unknownBoard } from './which.ts';

export interface ArchiveOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Mode of every folder that is made, whatever the umask. The root's is left alone where it exists. */
  readonly directoryMode?: number;
  /** Mode of every file that is made, whatever the umask. */
  readonly fileMode?: number;
  readonly compression: 'none' | 'gzip';
  /** For the manifest: `espd 0.1.0`. */
  readonly createdBy: string;
  /** Folder for the record of a restore while the archive is on a read-only file system; absent = there is none. */
  readonly statePath?: string;
  /** Node's, unless a test wants to see calls fail. */
  readonly fs?: FileSystem;
}

/** Touches nothing yet: the folder is made by the first `begin`. */
export function openArchive(root: string, options: ArchiveOptions): Archive {
  return new FolderArchive(resolve(root), options);
}

/** What a board's folder holds, by names alone. */
interface BoardFolder {
  readonly path: string;
  /** Everything with a backup id as its name, sound or not, oldest first. */
  readonly ids: readonly string[];
  readonly hasSightings: boolean;
  readonly foreign: readonly string[];
}

class FolderArchive implements Archive {
  readonly root: string;
  readonly cache: FolderCache;
  readonly #options: ArchiveOptions;
  readonly #disk: Disk;
  readonly #hasher: ImageHasher;
  readonly #blocks: BlockIndex;
  readonly #restores: RestoreStore;
  #owner: Promise<Owner> | undefined;

  constructor(root: string, options: ArchiveOptions) {
    const { fs = nodeFs, log, clock, createdBy, statePath, directoryMode = 0o700, fileMode = 0o600 } = options;
    this.root = root;
    this.#options = options;
    this.#disk = new Disk({ fs, log, directoryMode, fileMode });
    this.#hasher = new ImageHasher(log);
    this.cache = new FolderCache(this.root, { disk: this.#disk, log, self: () => this.#self() });
    const self = () => this.#self();
    this.#restores = new RestoreStore({ root, statePath, disk: this.#disk, log, clock, createdBy, self });
    this.#blocks = new BlockIndex({ root: this.root, disk: this.#disk, cache: this.cache, log });
  }

  async boards(): Promise<{ macs: Mac[]; problems: ArchiveProblem[] }> {
    const macs: Mac[] = [];
    const problems: ArchiveProblem[] = [];
    for (const entry of await this.#readRoot()) {
      const mac = macFromFolder(entry.name) ?? null;
      if (mac !== null && entry.isDirectory()) macs.push(mac);
      else if (mac !== null) problems.push(toProblem(mac, null, entry.name, notAFolder(entry.isSymbolicLink())));
      else if (entry.name === CACHE && entry.isDirectory()) continue;
      // What mkfs leaves at the top of a file system that is the archive as a whole.
      else if (entry.name !== 'lost+found') problems.push(toProblem(null, null, entry.name, FOREIGN));
    }
    macs.push(...(await this.#restores.macsElsewhere()).filter((mac) => !macs.includes(mac)));
    return { macs: macs.sort(), problems };
  }

  async history(mac: Mac): Promise<BoardHistory> {
    const backups: Backup[] = [];
    const problems: ArchiveProblem[] = [];
    let sightings: Sighting[] = [];
    let folder: BoardFolder | undefined;
    try {
      folder = await this.#readBoard(mac);
    } catch (error) {
      problems.push(toProblem(mac, null, macToFolder(mac), readFault(error)));
    }
    if (folder === undefined) return { mac, backups, sightings, problems, halfRestored: await this.halfRestored(mac) };
    for (const id of folder.ids) {
      const judged = await this.#judge(mac, id);
      if (judged?.backup !== undefined) backups.push(judged.backup);
      if (judged !== undefined) problems.push(...judged.problems);
    }
    if (folder.hasSightings) {
      try {
        sightings = await readSightings(this.#disk, folder.path);
      } catch (error) {
        problems.push(toProblem(mac, null, join(macToFolder(mac), SIGHTINGS), readFault(error)));
      }
    }
    for (const name of folder.foreign) problems.push(toProblem(mac, null, join(macToFolder(mac), name), FOREIGN));
    return { mac, backups, sightings, problems, halfRestored: await this.halfRestored(mac) };
  }

  async resolveBoard(text: string): Promise<Mac> {
    const { macs, problems } = await this.boards();
    const mac = parseMac(text);
    if (mac !== undefined && macs.includes(mac)) return mac;
    const problem = mac === undefined ? undefined : problems.find((candidate) => candidate.mac === mac);
    throw problem?.error ?? unknownBoard(text, macs);
  }

  async backupIds(mac: Mac): Promise<readonly string[]> {
    try {
      const folder = await this.#readBoard(mac);
      if (folder !== undefined) return folder.ids;
    } catch (error) {
      throw toProblem(mac, null, macToFolder(mac), readFault(error)).error;
    }
    throw unknownBoard(mac, (await this.boards()).macs);
  }

  async resolveBackup(mac: Mac, which: Which): Promise<Backup> {
    const ids = await this.backupIds(mac);
    const id = selectId(mac, ids, which);
    const judged = await this.#judge(mac, id);
    if (judged?.backup !== undefined) return judged.backup;
    if (judged === undefined) return this.resolveBackup(mac, which); // removed since the folder was listed
    const error = (judged.problems.find((problem) => problem.error.code === 'archive-newer') ?? judged.problems[0])
      ?.error;
    if (error === undefined) throw new EspdError('internal', `${mac} ${id} is neither sound nor damaged`);
    const sound = await this.#newestSound(mac, ids);
    const instead =
      sound === undefined ? 'No other backup of this board looks sound' : `The newest that looks sound is ${sound}`;
    throw new EspdError(error.code, `Backup ${id} of ${mac}: ${error.message}`, {
      hint: error.hint === '' ? instead : `${error.hint}. ${instead}`,
      cause: error,
    });
  }

  async openImage({ mac, id, manifest }: Backup): Promise<ImageReader> {
    return this.#openImage(join(this.#pathOf(mac), id, manifest.image.file), manifest.image.sizeBytes, mac);
  }

  async candidates(mac: Mac, options: Parameters<Archive['candidates']>[1] = {}): Promise<Candidates> {
    const { signal, history } = options;
    const fleet = await this.#blocks.newest(signal);
    const { backups } = history ?? (await this.history(mac));
    signal?.throwIfAborted();
    const openImage = (path: string, sizeBytes: number, owner: Mac) => this.#openImage(path, sizeBytes, owner);
    return makeCandidates({ root: this.root, log: this.#options.log, openImage, signal }, mac, backups, fleet);
  }

  async verifyBackup(mac: Mac, id: string, signal?: AbortSignal): Promise<ArchiveProblem[]> {
    const verified = isBackupId(id)
      ? await verifyFolder({ disk: this.#disk, hasher: this.#hasher }, join(this.#pathOf(mac), id), { mac, id }, signal)
      : undefined;
    if (verified === undefined) throw new EspdError('archive-unknown-backup', `${mac} has no backup ${printable(id)}`);
    return verified.findings.map((finding) => toProblem(mac, id, placeOf(mac, id, finding), finding));
  }

  async verify(options: Parameters<Archive['verify']>[0]): Promise<VerifyReport> {
    const { signal, onProgress } = options;
    const all = options.mac === undefined ? await this.boards() : { macs: [options.mac], problems: [] };
    const problems: ArchiveProblem[] = [...all.problems];
    let checked = 0;
    for (const mac of all.macs) {
      const history = await this.history(mac);
      problems.push(...history.problems.filter((problem) => problem.id === null));
      const damagedIds = history.problems.flatMap((problem) => (problem.id === null ? [] : [problem.id]));
      const ids = new Set([...history.backups.map((backup) => backup.id), ...damagedIds]);
      for (const id of [...ids].sort()) {
        signal?.throwIfAborted();
        onProgress?.(mac, id);
        try {
          problems.push(...(await this.verifyBackup(mac, id, signal)));
          checked++;
        } catch (error) {
          if (!hasCode(error, 'archive-unknown-backup')) throw error; // else pruned since it was listed
        }
      }
    }
    return { checked, damaged: problems.map(({ mac, id, file, problem }) => ({ mac, id, file, problem })) };
  }

  async checkWritable(): Promise<void> {
    try {
      await this.#disk.makeFolder(this.root);
      await this.#disk.fs.access(this.root, constants.W_OK | constants.X_OK);
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async begin(mac: Mac, sizeBytes: number): Promise<Draft> {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
      throw new RangeError(`an image of ${sizeBytes} bytes is not possible`);
    }
    const { log, clock, compression, createdBy } = this.#options;
    const owner = await this.#self();
    try {
      await this.#refuseOtherThanFolder(this.#pathOf(mac));
      return await createDraft(
        {
          ...{ root: this.root, disk: this.#disk, hasher: this.#hasher, log, clock, owner, compression, createdBy },
          onCommitted: (backup) => this.#blocks.add(backup),
        },
        mac,
        sizeBytes,
      );
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async recordSighting(mac: Mac, sighting: Sighting): Promise<void> {
    try {
      const stats = await this.#disk.lstat(this.#pathOf(mac));
      if (stats?.isDirectory() !== true) throw unknownBoard(mac, (await this.boards()).macs);
      await appendSighting(this.#disk, this.#pathOf(mac), sighting);
      await removePartials({ disk: this.#disk, log: this.#options.log }, this.#pathOf(mac));
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  halfRestored(mac: Mac): Promise<HalfRestored | null> {
    return this.#restores.half(mac);
  }

  async readOnly(): Promise<{ recordFolder: string | null } | null> {
    return (await this.#restores.isReadOnly()) ? { recordFolder: this.#restores.statePath ?? null } : null;
  }

  async beginRestore(content: RestoreRecordContent): Promise<void> {
    try {
      await this.#refuseOtherThanFolder(this.#pathOf(content.mac));
      await this.#restores.begin(content);
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async endRestore(mac: Mac, outcome: 'done' | 'nothing-written'): Promise<void> {
    try {
      await this.#restores.end(mac, outcome);
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async restores(mac: Mac): Promise<readonly CompletedRestore[]> {
    try {
      return await this.#restores.restores(mac);
    } catch (error) {
      throw toProblem(mac, null, join(macToFolder(mac), RESTORES), readFault(error)).error;
    }
  }

  async #refuseOtherThanFolder(path: string): Promise<void> {
    const stats = await this.#disk.lstat(path);
    if (stats === undefined || stats.isDirectory()) return;
    throw Object.assign(new Error(`${path} is no folder`), { code: 'ENOTDIR' });
  }

  #self(): Promise<Owner> {
    this.#owner ??= currentOwner();
    return this.#owner;
  }

  #pathOf(mac: Mac): string {
    return join(this.root, macToFolder(mac));
  }

  async #openImage(path: string, sizeBytes: number, mac: Mac): Promise<ImageReader> {
    const temporary = join(this.#pathOf(mac), draftName(await this.#self()));
    return openStoredImage(this.#disk, path, sizeBytes, temporary);
  }

  /** Empty where the archive was never written to. */
  async #readRoot() {
    try {
      return await this.#disk.fs.readdir(this.root, { withFileTypes: true });
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return [];
      const { problem, hint } = readFault(error);
      throw new EspdError('archive-unreadable', `The archive ${this.root} ${problem}`, { hint, cause: error });
    }
  }

  /** Undefined for a board without a folder; otherwise rejects with the system's error. */
  async #readBoard(mac: Mac): Promise<BoardFolder | undefined> {
    const path = this.#pathOf(mac);
    const stats = await this.#disk.lstat(path);
    if (stats === undefined) return undefined;
    if (stats.isSymbolicLink()) throw Object.assign(new Error('is a link'), { code: 'ELOOP' });
    const names = (await this.#disk.fs.readdir(path)).sort();
    const isOurs = (name: string) =>
      isBackupId(name) ||
      [SIGHTINGS, RESTORE_RECORD, RESTORES].includes(name) ||
      draftOwner(name) !== undefined ||
      isPartialName(name) ||
      isTrashName(name);
    return {
      path,
      ids: names.filter(isBackupId),
      hasSightings: names.includes(SIGHTINGS),
      foreign: names.filter((name) => !isOurs(name)),
    };
  }

  /** A backup where nothing is wrong with it, else its problems; undefined where nothing has this id. */
  async #judge(mac: Mac, id: string): Promise<{ backup?: Backup; problems: ArchiveProblem[] } | undefined> {
    const path = join(this.#pathOf(mac), id);
    const inspection = await inspectFolder(this.#disk, path, { mac, id });
    if (inspection === undefined) return undefined;
    const { manifest, findings } = inspection;
    if (manifest !== undefined && findings.length === 0) return { backup: { mac, id, path, manifest }, problems: [] };
    return { problems: findings.map((finding) => toProblem(mac, id, placeOf(mac, id, finding), finding)) };
  }

  async #newestSound(mac: Mac, ids: readonly string[]): Promise<string | undefined> {
    for (const id of ids.toReversed()) {
      if ((await this.#judge(mac, id))?.backup !== undefined) return id;
    }
    return undefined;
  }
}

const FOREIGN = {
  code: 'archive-damaged',
  problem: 'is foreign',
  hint: 'espd did not put it there; move it away',
} as const;

function notAFolder(isLink: boolean) {
  return {
    code: 'archive-damaged',
    problem: isLink ? 'is a symbolic link, and none is followed' : 'is no folder',
    hint: '',
  } as const;
}

function placeOf(mac: Mac, id: string, { file }: Finding): string {
  return join(macToFolder(mac), id, file);
}

/** @param file relative to the archive */
function toProblem(
  mac: Mac | null,
  id: string | null,
  file: string,
  { code, problem, hint }: Omit<Finding, 'file'>,
): ArchiveProblem {
  const shown = printable(file);
  return { mac, id, file: shown, problem, error: new EspdError(code, `${shown} ${problem}`, { hint }) };
}
