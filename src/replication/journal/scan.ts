/**
 * Compares what is noted of a store with everything that lies there: for backups that no journal tells of (a folder that
 * was copied there, a journal that was lost), and for notes of backups that are gone. The bucket's folders are the truth.
 */

import { createHash } from 'node:crypto';
import { parseChecksums } from '../../archive/checksums.ts';
import type { StoredBackup } from '../../archive/elsewhere/types.ts';
import { type Manifest, contradictions, parseManifest } from '../../archive/manifest.ts';
import type { Clock } from '../../clock.ts';
import { EspdError, hasCode, toEspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { ObjectFacts } from '../../store/types.ts';
import { decryptWhole } from '../encryption.ts';
import { ENCRYPTED, PROBES, boundName } from '../layout.ts';
import { CHECKSUMS, MANIFEST } from '../local-backup.ts';
import type { Bucket } from '../push-backup.ts';
import { type FolderName, folderOf, homeOf, parseFolder } from '../layout.ts';
import { JOURNAL } from './names.ts';
import type { JournalArchive } from './own-lines.ts';

/** What else espd keeps in a bucket. */
const OTHERS = [JOURNAL, PROBES, 'leases/', 'removals/'];
const MAX_NAMES = 10;

export interface Found {
  readonly mac: Mac;
  readonly id: string;
  readonly folder: string;
}

export interface Scan {
  /** Complete backups that lie there. */
  readonly backups: number;
  /** Folders of backups that are not complete: on their way, or given up. */
  readonly incomplete: number;
  /** That were not noted. */
  readonly found: readonly Found[];
  /** That were noted, and are gone. */
  readonly lost: readonly Found[];
  /** That are there and cannot be noted. */
  readonly unreadable: readonly (Found & { readonly error: EspdError })[];
  /** Objects that are none of espd's: how many, and the first of them. */
  readonly foreign: number;
  readonly foreignNames: readonly string[];
}

export interface ScanOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (objects: number) => void;
}

/** Reads and notes; changes nothing in the store. @throws EspdError `store-...`, `archive-...` */
export async function scanStore(
  parts: { readonly archive: JournalArchive; readonly clock: Clock },
  bucket: Bucket,
  options: ScanOptions,
): Promise<Scan> {
  return new Scanning(parts, bucket, options).run();
}

type Files = Map<string, ObjectFacts>;

class Scanning {
  readonly #archive: JournalArchive;
  readonly #clock: Clock;
  readonly #bucket: Bucket;
  readonly #options: ScanOptions;
  readonly #found: Found[] = [];
  readonly #lost: Found[] = [];
  readonly #unreadable: (Found & { readonly error: EspdError })[] = [];
  readonly #foreignNames: string[] = [];
  readonly #counts = { backups: 0, incomplete: 0, foreign: 0 };
  /** Boards of each home that the list had. */
  readonly #seen = new Set<string>();

  constructor(
    { archive, clock }: { readonly archive: JournalArchive; readonly clock: Clock },
    bucket: Bucket,
    options: ScanOptions,
  ) {
    this.#archive = archive;
    this.#clock = clock;
    this.#bucket = bucket;
    this.#options = options;
  }

  async run(): Promise<Scan> {
    // A list is sorted by keys, so what belongs to a board of one home comes together.
    let board: Pick<FolderName, 'mac' | 'home'> | undefined;
    let folders = new Map<string, Files>();
    for await (const object of this.#objects()) {
      const name = object.key.slice(this.#bucket.layout.prefix.length);
      if (OTHERS.some((folder) => name.startsWith(folder))) continue;
      const slash = name.lastIndexOf('/') + 1;
      const folder = parseFolder(name.slice(0, slash));
      if (folder === undefined) {
        this.#foreign(name);
        continue;
      }
      if (board?.mac !== folder.mac || board.home !== folder.home) {
        if (board !== undefined) await this.#compare(board, folders);
        board = folder;
        folders = new Map();
      }
      const files = folders.get(folder.id) ?? new Map<string, ObjectFacts>();
      files.set(name.slice(slash), object);
      folders.set(folder.id, files);
    }
    if (board !== undefined) await this.#compare(board, folders);
    for (const mac of (await this.#archive.boards()).macs) {
      const unseen = (await this.#noted(mac)).filter((each) => !this.#seen.has(`${homeOf(each) ?? ''} ${mac}`));
      for (const each of unseen) await this.#forgetIfGone(each);
    }
    return {
      ...this.#counts,
      ...{ found: this.#found, lost: this.#lost, unreadable: this.#unreadable, foreignNames: this.#foreignNames },
    };
  }

  async *#objects(): AsyncGenerator<ObjectFacts, void, undefined> {
    const { store, layout } = this.#bucket;
    const { signal, onProgress } = this.#options;
    let count = 0;
    for (let from: string | null = null; ;) {
      const page = await store.list({ prefix: layout.prefix, from, signal });
      yield* page.objects;
      count += page.objects.length;
      onProgress?.(count);
      if (page.next === null) return;
      from = page.next;
    }
  }

  async #compare({ mac, home }: Pick<FolderName, 'mac' | 'home'>, folders: ReadonlyMap<string, Files>): Promise<void> {
    this.#seen.add(`${home} ${mac}`);
    const noted = (await this.#noted(mac)).filter((each) => homeOf(each) === home);
    const known = new Set(noted.map(({ id }) => id));
    for (const [id, files] of folders) {
      this.#options.signal.throwIfAborted();
      if (!files.has(CHECKSUMS)) this.#counts.incomplete++;
      else {
        this.#counts.backups++;
        if (!known.has(id)) await this.#note({ mac, id, home }, files);
      }
    }
    for (const each of noted) if (folders.get(each.id)?.has(CHECKSUMS) !== true) await this.#forgetIfGone(each);
  }

  async #noted(mac: Mac): Promise<StoredBackup[]> {
    return (await this.#archive.elsewhere.of(mac)).filter(({ store }) => store === this.#bucket.id);
  }

  async #note(name: FolderName, files: Files): Promise<void> {
    const { mac, id, home } = name;
    const folder = folderOf(name);
    try {
      const { manifest, manifestSha256 } = await this.#readManifest(name, folder, files);
      const writtenMs = files.get(CHECKSUMS)?.writtenMs ?? this.#clock.date().getTime();
      // Just before the journal's time: what that says of the station counts.
      const at = new Date(writtenMs - 1).toISOString();
      const station = home === '' ? stationOf(manifest) : home;
      const { elsewhere } = this.#archive;
      const place = { mac, id, store: this.#bucket.id, folder };
      if (await elsewhere.note({ ...place, at, station, manifestSha256, manifest }))
        this.#found.push({ mac, id, folder });
    } catch (error) {
      this.#options.signal.throwIfAborted();
      const fault = toEspdError(error);
      if (!hasCode(fault, 'store-damaged', 'store-key', 'archive-newer', 'usage')) throw error;
      this.#unreadable.push({ mac, id, folder, error: fault });
    }
  }

  async #readManifest(
    { mac, id }: FolderName,
    folder: string,
    files: Files,
  ): Promise<Pick<StoredBackup, 'manifest' | 'manifestSha256'>> {
    const { store, layout, keys } = this.#bucket;
    const { signal } = this.#options;
    const damaged = (problem: string) =>
      new EspdError('store-damaged', `Backup ${id} of ${mac} in the object store (${folder}) is damaged: ${problem}`, {
        hint: 'It is passed over. Another copy of it may be sound',
      });
    const isEncrypted = files.has(MANIFEST + ENCRYPTED);
    const file = isEncrypted ? MANIFEST + ENCRYPTED : MANIFEST;
    const sums = await store.get(`${layout.prefix}${folder}${CHECKSUMS}`, { signal });
    const object = await store.get(`${layout.prefix}${folder}${file}`, { signal });
    if (sums === undefined || object === undefined) throw damaged(`${file} is missing`);
    const told = parseChecksums(sums.bytes.toString('utf8'))?.get(file);
    if (told !== sha256(object.bytes)) throw damaged(`${file} differs from its digest`);
    const bytes = isEncrypted ? decryptWhole(keys, boundName(mac, id, MANIFEST), object.bytes) : object.bytes;
    const reading = parseManifest(bytes.toString('utf8'));
    if (reading.kind === 'newer') {
      throw new EspdError('archive-newer', `Backup ${id} of ${mac} in the object store was made by a newer espd`, {
        hint: 'Install a newer espd here to see it',
      });
    }
    if (reading.kind === 'damaged') throw damaged(`${MANIFEST} ${reading.problem}`);
    const { manifest } = reading;
    if (manifest.mac !== mac || manifest.id !== id) throw damaged(`${MANIFEST} is that of another backup`);
    const [contradiction] = contradictions(manifest);
    if (contradiction !== undefined) throw damaged(`${MANIFEST} ${contradiction}`);
    return { manifest, manifestSha256: sha256(bytes) };
  }

  /** A list may lag: only where the object itself is not there, it is gone. */
  async #forgetIfGone({ mac, id, store, folder, at }: StoredBackup): Promise<void> {
    const { layout } = this.#bucket;
    const { signal } = this.#options;
    const key = `${layout.prefix}${folder}${CHECKSUMS}`;
    if ((await this.#bucket.store.head(key, { signal })) !== undefined) return;
    const later = new Date(Math.max(this.#clock.date().getTime(), Date.parse(at) + 1)).toISOString();
    if (await this.#archive.elsewhere.forget({ mac, id, store, folder, at: later }))
      this.#lost.push({ mac, id, folder });
  }

  #foreign(name: string): void {
    this.#counts.foreign++;
    if (this.#foreignNames.length < MAX_NAMES) this.#foreignNames.push(name);
  }
}

/** The folder of all stations does not say which one has put it there; the manifest says at which host it was made. */
function stationOf({ source }: Manifest): string {
  return source.host.replace(/[^A-Za-z0-9_-]/g, '_').slice(0, 63) || 'unknown';
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
