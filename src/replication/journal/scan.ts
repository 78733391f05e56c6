/**
 * Compares what is noted of a store with everything that lies there: for backups that no journal tells of (a folder that
 * was copied there, a journal that was lost), and for backups that should be there and are missing (somebody has emptied
 * the bucket, a rule of the store has ended them). The bucket's folders are the truth.
 */

import { createHash } from 'node:crypto';
import { parseChecksums } from '../../archive/checksums.ts';
import type { NotedGone, StoredBackup } from '../../archive/elsewhere/types.ts';
import { type Manifest, contradictions, parseManifest } from '../../archive/manifest.ts';
import type { Clock } from '../../clock.ts';
import { EspdError, hasCode, toEspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { ObjectFacts } from '../../store/types.ts';
import { decryptWhole } from '../encryption.ts';
import { ENCRYPTED, PROBES, boundName } from '../layout.ts';
import { CHECKSUMS, MANIFEST } from '../local-backup.ts';
import type { Bucket } from '../push-backup.ts';
import { type FolderName, folderKey, folderOf, parseFolder } from '../layout.ts';
import { Refusals } from '../refusals.ts';
import { removalKey } from '../removal/format.ts';
import { MAX_CHECKSUMS_BYTES, getSmall, maxManifestBytes } from '../small-object.ts';
import { type Done, doneOf } from '../state.ts';
import { JOURNAL } from './names.ts';
import type { JournalArchive } from './own-lines.ts';
import { whenGone, whenNoted } from './when-noted.ts';

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
  /** That should be there and are missing: no station has said that it removed them. */
  readonly lost: readonly Lost[];
  /** That are there and cannot be noted. */
  readonly unreadable: readonly (Found & { readonly error: EspdError })[];
  /** Segments of this station's own journal that were missing or damaged: what they told is said again. */
  readonly mended: number;
  /** Objects that are none of espd's: how many, and the first of them. */
  readonly foreign: number;
  readonly foreignNames: readonly string[];
}

export interface Lost extends Found {
  /** This station had put it there: it waits to be put there again, as far as it is still here. */
  readonly isOwn: boolean;
}

export interface ScanOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (objects: number) => void;
}

export interface ScanParts {
  readonly archive: JournalArchive;
  readonly clock: Clock;
  /** Takes in all that other stations have said until now. */
  readonly hear: () => Promise<void>;
}

/** Reads and notes; changes nothing in the store. @throws EspdError `store-...`, `archive-...` */
export async function scanStore(parts: ScanParts, bucket: Bucket, options: ScanOptions): Promise<Omit<Scan, 'mended'>> {
  return new Scanning(parts, bucket, options).run();
}

/** What is wrong with what lies there; undefined where nothing is. */
export function scanFault({ lost, unreadable }: Scan): EspdError | undefined {
  const [first] = unreadable;
  if (lost.length === 0) return first?.error;
  const own = lost.filter(({ isOwn }) => isOwn).length;
  const what = lost.length === 1 ? 'A backup is' : `${lost.length} backups are`;
  const again =
    own === 0
      ? 'Another station had put there what is missing, and puts it there again if it still has it'
      : `${own === lost.length ? 'What' : `${own} of them: what`} is still here is put there again (now: espd push)`;
  return new EspdError('store-lost', `${what} missing in the object store, and no station has removed it`, {
    hint: `${again}. Find out who or what empties the bucket: a rule of the store, or another program`,
  });
}

type Files = Map<string, ObjectFacts>;

/** What should lie in the store, and was in no list. */
interface Suspect extends Found {
  /** That it is complete there. */
  readonly isNoted: boolean;
  /** Null: another station has put it there. */
  readonly done: Done | null;
}

class Scanning {
  readonly #archive: JournalArchive;
  readonly #clock: Clock;
  readonly #hear: ScanParts['hear'];
  readonly #bucket: Bucket;
  readonly #options: ScanOptions;
  readonly #found: Found[] = [];
  readonly #lost: Lost[] = [];
  readonly #suspects: Suspect[] = [];
  /** Backups that this station has put there, by board. */
  readonly #done = new Map<Mac, Done[]>();
  readonly #refusals = new Refusals();
  readonly #unreadable: (Found & { readonly error: EspdError })[] = [];
  readonly #foreignNames: string[] = [];
  readonly #counts = { backups: 0, incomplete: 0, foreign: 0 };
  /** Boards of each home that the list had. */
  readonly #seen = new Set<string>();

  constructor({ archive, clock, hear }: ScanParts, bucket: Bucket, options: ScanOptions) {
    this.#archive = archive;
    this.#clock = clock;
    this.#hear = hear;
    this.#bucket = bucket;
    this.#options = options;
  }

  async run(): Promise<Omit<Scan, 'mended'>> {
    for (const done of doneOf(await this.#bucket.state.done()).values()) {
      const ofBoard = this.#done.get(done.mac);
      if (ofBoard === undefined) this.#done.set(done.mac, [done]);
      else ofBoard.push(done);
    }
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
    for (const mac of new Set([...(await this.#archive.boards()).macs, ...this.#done.keys()])) {
      const isUnseen = ({ folder }: Found) => !this.#seen.has(`${parseFolder(folder)?.home ?? ''} ${mac}`);
      this.#suspects.push(...(await this.#expected(mac)).filter(isUnseen));
    }
    await this.#settle();
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
    const expected = (await this.#expected(mac)).filter(({ folder }) => parseFolder(folder)?.home === home);
    const known = new Set(expected.flatMap(({ id, isNoted }) => (isNoted ? [id] : [])));
    for (const [id, files] of folders) {
      this.#options.signal.throwIfAborted();
      if (!files.has(CHECKSUMS)) this.#counts.incomplete++;
      else {
        this.#counts.backups++;
        if (!known.has(id)) await this.#note({ mac, id, home }, files);
      }
    }
    this.#suspects.push(...expected.filter(({ id }) => folders.get(id)?.has(CHECKSUMS) !== true));
  }

  /** What is noted of this store, and what this station has put there. */
  async #expected(mac: Mac): Promise<Suspect[]> {
    const { id: store, layout } = this.#bucket;
    const expected = new Map<string, Suspect>();
    for (const noted of await this.#archive.elsewhere.of(mac)) {
      const { id, folder } = noted;
      if (noted.store === store) expected.set(folder, { mac, id, folder, isNoted: true, done: null });
    }
    for (const done of this.#done.get(mac) ?? []) {
      const { id, place } = done;
      const folder = folderKey({ ...layout, prefix: '' }, place, mac, id);
      expected.set(folder, { mac, id, folder, isNoted: expected.has(folder), done });
    }
    return [...expected.values()];
  }

  async #note(name: FolderName, files: Files): Promise<void> {
    const { mac, id, home } = name;
    const folder = folderOf(name);
    try {
      const { manifest, manifestSha256 } = await this.#readManifest(name, folder, files);
      const writtenMs = files.get(CHECKSUMS)?.writtenMs ?? this.#clock.date().getTime();
      const station = home === '' ? stationOf(manifest) : home;
      const { elsewhere } = this.#archive;
      const place = { mac, id, store: this.#bucket.id, folder };
      // Just before the journal's time: what that says of the station counts.
      const at = await whenNoted(elsewhere, place, writtenMs - 1);
      if (await elsewhere.note({ ...place, at, station, manifestSha256, manifest }))
        this.#found.push({ mac, id, folder });
      this.#refusals.served();
    } catch (error) {
      this.#options.signal.throwIfAborted();
      const fault = toEspdError(error);
      if (!hasCode(fault, 'store-key', 'usage') && !this.#refusals.isOfOne(fault)) throw error;
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
    const sums = await getSmall(store, `${layout.prefix}${folder}${CHECKSUMS}`, MAX_CHECKSUMS_BYTES, signal);
    const object = await getSmall(store, `${layout.prefix}${folder}${file}`, maxManifestBytes(isEncrypted), signal);
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

  /**
   * A list may lag, and a pruner may be at it: missing is what the store itself does not have, what is not being removed, and
   * what no station has told of until after that. So the journals are heard last.
   */
  async #settle(): Promise<void> {
    const { store, layout } = this.#bucket;
    const { signal } = this.#options;
    const missing: Suspect[] = [];
    for (const suspect of this.#suspects) {
      const { mac, id, folder } = suspect;
      const error = await this.#refusals.attempt(async () => {
        if ((await store.head(layout.prefix + folder + CHECKSUMS, { signal })) !== undefined) return;
        if ((await store.head(removalKey(layout.prefix, folder), { signal })) === undefined) missing.push(suspect);
      }, signal);
      if (error !== undefined) this.#unreadable.push({ mac, id, folder, error });
    }
    if (missing.length > 0) await this.#hear();
    for (const suspect of missing) await this.#noteMissing(suspect);
  }

  async #noteMissing({ mac, id, folder, done }: Suspect): Promise<void> {
    const { elsewhere } = this.#archive;
    const { id: store, state } = this.#bucket;
    const isThis = (each: StoredBackup | NotedGone) => each.store === store && each.folder === folder;
    const gone = (await elsewhere.gone(mac)).find(isThis);
    // Who has removed it has told of it, and then it should not come back by itself.
    if (gone !== undefined && gone.isMissing !== true) return;
    const at = await whenGone(elsewhere, { mac, store, folder }, this.#clock.date().getTime());
    const isNews = await elsewhere.forget({ mac, id, store, folder, at, isMissing: true });
    if (done !== null) await state.addGone([done]);
    if (isNews || done !== null) this.#lost.push({ mac, id, folder, isOwn: done !== null });
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
