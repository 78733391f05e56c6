/** The archive of one folder: dated flash images by MAC. FORMAT.md has the format, `types.ts` the contract. */

import { constants } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Clock, unlessAborted } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import { macFromFolder, macToFolder, parseMac } from '../mac.ts';
import type { Mac } from '../mac.ts';
import { BlockIndex } from './block-index.ts';
import { judgeBackup, listBoard } from './board-folder.ts';
import type { Judged } from './board-folder.ts';
import { CACHE, FolderCache, REPLICATION, SPOOL } from './cache.ts';
import { makeCandidates } from './candidates.ts';
import { type Compression, usableCompression } from './compression.ts';
import { Disk } from './disk.ts';
import { readFault, toWriteError } from './disk-faults.ts';
import type { FileSystem } from './disk.ts';
import { createDraft } from './draft.ts';
import { Elsewhere } from './elsewhere/elsewhere.ts';
import { verifyFolder } from './folder.ts';
import { foreignEntries } from './foreign.ts';
import { historyOf } from './history.ts';
import { ImageHasher } from './hasher.ts';
import { ArchiveIdentity } from './identity.ts';
import { isBackupId } from './ids.ts';
import { VerifiedTimes } from './index/verified.ts';
import { openStoredImage } from './image.ts';
import { selectBoard } from './marks/labels.ts';
import { MarkStore } from './marks/store.ts';
import { meantBackup } from './meant-backup.ts';
import { findLatest, newestFirst, takeNewest } from './newest.ts';
import { nodeFileSystem } from './node-fs.ts';
import { overviewOf } from './overview.ts';
import { currentOwner, draftName } from './owner.ts';
import type { Owner } from './owner.ts';
import { removePartials } from './partials.ts';
import { printable } from '../printable.ts';
import { notAFolder, placeOf, toProblem } from './problems.ts';
import { Pruner } from './prune.ts';
import { RESTORE_RECORD } from './restore-record.ts';
import type { HalfRestored, RestoreRecordContent } from './restore-record.ts';
import { RestoreStore } from './restore-store.ts';
import { type CompletedRestore, RESTORES } from './restores.ts';
import { ImageSharer } from './share-image.ts';
import { appendSighting } from './sightings.ts';
import { Sizer } from './sizes.ts';
import { Turns } from './turns.ts';
import type {
  Archive,
  ArchiveProblem,
  Backup,
  BoardHistory,
  Candidates,
  Draft,
  ForeignEntry,
  ImageReader,
} from './types.ts';
import type { LatestBackup, Sighting, VerifyReport, Which } from './types.ts';
import { verifyArchive } from './verify.ts';
import { unknownBoard } from './which.ts';

export interface ArchiveOptions {
  readonly log: Logger;
  readonly clock: Clock;
  /** Mode of every folder that is made, whatever the umask. The root's is left alone where it exists. */
  readonly directoryMode?: number;
  /** Mode of every file that is made, whatever the umask. */
  readonly fileMode?: number;
  /** `zstd` becomes `gzip`, with a warning, where this Node has no zstd. */
  readonly compression: Compression;
  /** Whether plain images share blocks with earlier ones where the file system can. Absent = no. */
  readonly reflinks?: boolean;
  /** No backup begins that would leave less on the disk; null: 2 % of it, at most 256 MiB. Absent = 0. */
  readonly minFreeBytes?: number | null;
  /** For the manifest: `espd 0.1.0`. */
  readonly createdBy: string;
  /** Folder for the record of a restore while the archive is on a read-only file system; absent = there is none. */
  readonly statePath?: string;
  /** Node's, unless a test wants to see calls fail. */
  readonly fs?: FileSystem;
  /** Boards from which on they are indexed; for tests. */
  readonly indexFrom?: number;
}

/** Touches nothing yet: the folder is made by the first `begin`. */
export function openArchive(root: string, options: ArchiveOptions): Archive {
  return new FolderArchive(resolve(root), options);
}

/**
 * Of a board's own backups so many are compared with its flash, the newest ones: each costs a manifest to read and keep,
 * some 50 KB for a flash of 32 MB, while the board waits.
 */
const MAX_OWN_CANDIDATES = 16;

class FolderArchive implements Archive {
  readonly root: string;
  readonly cache: FolderCache;
  readonly marks: MarkStore;
  readonly retention: Pruner;
  readonly sizes: Sizer;
  readonly elsewhere: Elsewhere;
  readonly #options: ArchiveOptions;
  readonly #disk: Disk;
  readonly #hasher: ImageHasher;
  readonly #blocks: BlockIndex;
  readonly #restores: RestoreStore;
  readonly #identity: ArchiveIdentity;
  readonly #sharer = new ImageSharer();
  /** Drafts that begin ask for room on the disk one after the other. */
  readonly #reserving = new Turns(1);
  #owner: Promise<Owner> | undefined;

  constructor(root: string, options: ArchiveOptions) {
    const { fs = nodeFileSystem, log, clock, createdBy, statePath, minFreeBytes = 0 } = options;
    const { directoryMode = 0o700, fileMode = 0o600 } = options;
    this.root = root;
    this.#options = { ...options, compression: usableCompression(options.compression, log) };
    this.#disk = new Disk({ fs, log, directoryMode, fileMode });
    this.#hasher = new ImageHasher(log);
    this.cache = new FolderCache(this.root, { disk: this.#disk, log, self: () => this.#self() });
    const self = () => this.#self();
    this.#restores = new RestoreStore({ root, statePath, disk: this.#disk, log, clock, createdBy, self });
    this.#blocks = new BlockIndex({ root: this.root, disk: this.#disk, cache: this.cache, log, clock });
    this.#identity = new ArchiveIdentity(this.root, { disk: this.#disk, cache: this.cache });
    const about = {
      ...{ root: this.root, disk: this.#disk, clock },
      boards: () => this.boards(),
      checkIdentity: () => this.#identity.check(),
    };
    this.sizes = new Sizer({ root: this.root, disk: this.#disk, minFreeBytes: options.minFreeBytes });
    this.marks = new MarkStore(about);
    this.retention = new Pruner({ ...about, log, createdBy, self, marks: this.marks, restores: this.#restores });
    this.elsewhere = new Elsewhere({
      ...{ ...about, log, self, hasher: this.#hasher, minFreeBytes },
      inTurn: (work) => this.#reserving.take(work),
      onCommitted: (backup) => this.#blocks.add(backup),
      release: (mac, id, isElsewhere) => this.retention.release(mac, id, isElsewhere),
    });
  }

  async boards(): ReturnType<Archive['boards']> {
    const macs: Mac[] = [];
    const problems: ArchiveProblem[] = [];
    const others: string[] = [];
    for (const entry of await this.#readRoot()) {
      const mac = macFromFolder(entry.name) ?? null;
      if (mac !== null && entry.isDirectory()) macs.push(mac);
      else if (mac !== null) problems.push(toProblem(mac, null, entry.name, notAFolder(entry.isSymbolicLink())));
      else if ([CACHE, SPOOL, REPLICATION].includes(entry.name) && entry.isDirectory()) continue;
      // What mkfs leaves at the top of a file system that is the archive as a whole.
      else if (entry.name !== 'lost+found') others.push(entry.name);
    }
    macs.push(...(await this.#restores.macsElsewhere()).filter((mac) => !macs.includes(mac)));
    return { macs: macs.sort(), problems, foreign: foreignEntries(others, { mac: null, id: null, folder: '' }) };
  }

  overview(options: Parameters<Archive['overview']>[0] = {}): ReturnType<Archive['overview']> {
    const look = async () => {
      const listing = await this.boards();
      const { cache, root } = this;
      const { clock, log, indexFrom } = this.#options;
      const parts = { root, cache, clock, log, indexFrom, disk: this.#disk, restores: this.#restores };
      return overviewOf(parts, listing, options);
    };
    return unlessAborted(look(), options.signal);
  }

  history(mac: Mac): Promise<BoardHistory> {
    const halfRestored = (board: Mac) => this.#restores.half(board);
    const marks = (board: Mac) => this.marks.of(board);
    return historyOf({ root: this.root, disk: this.#disk, halfRestored, marks }, mac);
  }

  async latest(mac: Mac): Promise<LatestBackup> {
    try {
      return await findLatest(mac, (await listBoard(this.#disk, this.root, mac))?.ids ?? [], (id) =>
        this.#judge(mac, id),
      );
    } catch (error) {
      return { mac, ids: [], backup: undefined, problems: [toProblem(mac, null, macToFolder(mac), readFault(error))] };
    }
  }

  async *newestFirst(mac: Mac): AsyncGenerator<Backup, void, undefined> {
    const folder = await listBoard(this.#disk, this.root, mac).catch((error: unknown) => void readFault(error));
    yield* newestFirst(folder?.ids ?? [], (id) => this.#judge(mac, id));
  }

  async resolveBoard(text: string): Promise<Mac> {
    const { macs, problems } = await this.boards();
    const mac = parseMac(text);
    if (mac === undefined) return selectBoard(text, macs, await this.marks.labels());
    if (macs.includes(mac)) return mac;
    throw problems.find((problem) => problem.mac === mac)?.error ?? unknownBoard(text, macs);
  }

  async backupIds(mac: Mac): Promise<readonly string[]> {
    try {
      const folder = await listBoard(this.#disk, this.root, mac);
      if (folder !== undefined) return folder.ids;
    } catch (error) {
      throw toProblem(mac, null, macToFolder(mac), readFault(error)).error;
    }
    throw unknownBoard(mac, (await this.boards()).macs);
  }

  async resolveBackup(mac: Mac, which: Which): Promise<Backup> {
    const ids = await this.backupIds(mac);
    const stored = await this.elsewhere.of(mac);
    const backup = await meantBackup(mac, { ids, stored }, which, (id) => this.#judge(mac, id));
    return backup ?? this.resolveBackup(mac, which);
  }

  async openImage({ mac, id, manifest }: Backup): Promise<ImageReader> {
    return this.#openImage(join(this.#pathOf(mac), id, manifest.image.file), manifest.image.sizeBytes, mac);
  }

  async candidates(mac: Mac, options: Parameters<Archive['candidates']>[1] = {}): Promise<Candidates> {
    const { signal } = options;
    const fleet = await this.#blocks.newest(signal);
    const own = await takeNewest(this.newestFirst(mac), MAX_OWN_CANDIDATES, signal);
    const openImage = (path: string, sizeBytes: number, owner: Mac) => this.#openImage(path, sizeBytes, owner);
    return makeCandidates({ root: this.root, log: this.#options.log, openImage, signal }, mac, own, fleet);
  }

  async lookAround(signal?: AbortSignal): Promise<void> {
    await this.#blocks.refresh(signal);
  }

  async verifyBackup(mac: Mac, id: string, signal?: AbortSignal): Promise<readonly ArchiveProblem[]> {
    return (await this.#verifyBackup(mac, id, signal)).problems;
  }

  async verify(options: Parameters<Archive['verify']>[0]): Promise<VerifyReport> {
    const parts = {
      ...{ root: this.root, disk: this.#disk, cache: this.cache, clock: this.#options.clock },
      boards: () => this.boards(),
      verifyBackup: (mac: Mac, id: string, signal?: AbortSignal) => this.#verifyBackup(mac, id, signal),
    };
    return verifyArchive(parts, options);
  }

  async unfinishedPass(): Promise<number | null> {
    return (await VerifiedTimes.read(this.cache)).passMs;
  }

  async checkReadable(): Promise<void> {
    await this.#readRoot();
  }

  async checkWritable(): Promise<void> {
    try {
      await this.#identity.check();
      await this.#disk.makeFolder(this.root);
      await this.#identity.establish();
      await this.#disk.fs.access(this.root, constants.W_OK | constants.X_OK);
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async begin(mac: Mac, sizeBytes: number): Promise<Draft> {
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 1) {
      throw new RangeError(`an image of ${sizeBytes} bytes is not possible`);
    }
    const { log, clock, compression, minFreeBytes = 0, createdBy, reflinks = false } = this.#options;
    const owner = await this.#self();
    try {
      await this.#identity.check();
      await this.#refuseOtherThanFolder(this.#pathOf(mac));
      return await createDraft(
        {
          ...{ root: this.root, disk: this.#disk, hasher: this.#hasher, log, clock, owner, createdBy },
          ...{ compression, minFreeBytes, sharer: reflinks ? this.#sharer : null },
          inTurn: (work) => this.#reserving.take(work),
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
      await this.#identity.check();
      const stats = await this.#disk.lstat(this.#pathOf(mac));
      if (stats?.isDirectory() !== true) throw unknownBoard(mac, (await this.boards()).macs);
      await appendSighting(this.#disk, this.#pathOf(mac), sighting);
      await removePartials({ disk: this.#disk, log: this.#options.log }, this.#pathOf(mac));
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async halfRestored(mac: Mac): Promise<HalfRestored | null> {
    try {
      return await this.#restores.half(mac);
    } catch (error) {
      const { code, problem, hint } = readFault(error);
      const message = `Whether ${mac} is half restored cannot be told: ${macToFolder(mac)}/${RESTORE_RECORD} ${problem}`;
      throw new EspdError(code, message, { hint, cause: error });
    }
  }

  async readOnly(): Promise<{ recordFolder: string | null } | null> {
    return (await this.#restores.isReadOnly()) ? { recordFolder: this.#restores.statePath ?? null } : null;
  }

  async beginRestore(content: RestoreRecordContent): Promise<void> {
    try {
      await this.#identity.check();
      await this.#refuseOtherThanFolder(this.#pathOf(content.mac));
      await this.#restores.begin(content);
    } catch (error) {
      throw toWriteError(error, this.root);
    }
  }

  async endRestore(mac: Mac, outcome: 'done' | 'nothing-written'): Promise<void> {
    try {
      await this.#refuseOtherThanFolder(this.#pathOf(mac));
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

  async #readRoot() {
    try {
      await this.#identity.check();
      return await this.#disk.fs.readdir(this.root, { withFileTypes: true });
    } catch (error) {
      if (error instanceof EspdError) throw error;
      if (systemCode(error) === 'ENOENT') {
        throw new EspdError('archive-missing', `There is no archive at ${this.root}`, {
          hint:
            'Is its disk mounted? Another folder is named with --archive, or by archive.path in the config. The first ' +
            '"espd backup" makes a new archive',
          cause: error,
        });
      }
      const { problem, hint } = readFault(error);
      throw new EspdError('archive-unreadable', `The archive ${this.root} ${problem}`, { hint, cause: error });
    }
  }

  #judge(mac: Mac, id: string): Promise<Judged | undefined> {
    return judgeBackup(this.#disk, this.root, mac, id);
  }

  async #verifyBackup(
    mac: Mac,
    id: string,
    signal?: AbortSignal,
  ): Promise<{ problems: ArchiveProblem[]; foreign: ForeignEntry[] }> {
    const verified = isBackupId(id)
      ? await verifyFolder({ disk: this.#disk, hasher: this.#hasher }, join(this.#pathOf(mac), id), { mac, id }, signal)
      : undefined;
    if (verified === undefined) throw new EspdError('archive-unknown-backup', `${mac} has no backup ${printable(id)}`);
    return {
      problems: verified.findings.map((finding) => toProblem(mac, id, placeOf(mac, id, finding.file), finding)),
      foreign: foreignEntries(verified.foreign, { mac, id, folder: placeOf(mac, id, '') }),
    };
  }
}
