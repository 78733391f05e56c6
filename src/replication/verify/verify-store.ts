/**
 * Reads back what lies in a bucket, and compares it with its digests and with what all stations have told of it. To read
 * costs money and time at most stores, so what is to be read is known before: everything, the newest of each board, or a
 * sample, and what was looked at longest ago comes first. What broke off goes on. Nothing is changed in the store.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachAtOnce } from '../../archive/at-once.ts';
import type { StoredBackup } from '../../archive/elsewhere/types.ts';
import { VerifiedTimes } from '../../archive/index/verified.ts';
import { type Sample, chooseSample, sortOldest } from '../../archive/sample.ts';
import type { Archive } from '../../archive/types.ts';
import type { Clock } from '../../clock.ts';
import { EspdError, toEspdError } from '../../errors.ts';
import { type Mac, macToFolder } from '../../mac.ts';
import { paceTo } from '../../store/pace.ts';
import { STATIONS } from '../layout.ts';
import { CHECKSUMS } from '../local-backup.ts';
import type { Readable } from '../open.ts';
import { Refusals } from '../refusals.ts';
import { removalKey } from '../removal/format.ts';
import { inGroups } from '../removal/in-groups.ts';
import { type Inventory, takeInventory } from '../removal/inventory.ts';
import { type StoredName, namesOf } from '../removal/named-copies.ts';
import type { StoredCopy } from '../removal/stored-copy.ts';
import { replaceFile } from '../state-file.ts';
import { type Finding, MEND_HINT, checkCopy } from './check-copy.ts';
import { metered } from './metered.ts';

export interface VerifyParts {
  readonly bucket: Readable;
  readonly archive: Pick<Archive, 'boards' | 'elsewhere'>;
  readonly clock: Clock;
  /** Bytes a second that may be read; null: no bound. */
  readonly bandwidth: number | null;
  /** Where it is kept when what was read. */
  readonly stateFolder: string;
  /** Takes in what the journals say, before something counts as missing. */
  readonly hear: (signal: AbortSignal) => Promise<void>;
}

export interface VerifyOptions {
  /** Only these boards. */
  readonly only?: ReadonlySet<Mac> | undefined;
  readonly sample?: Sample | undefined;
  /** Only the newest of each board. */
  readonly newest?: boolean | undefined;
  /** With what a run over everything has not reached. */
  readonly goesOn?: boolean | undefined;
  readonly signal: AbortSignal;
  /** Objects listed so far. */
  readonly onListed?: (objects: number) => void;
}

/** Something wrong with a backup in the bucket. */
export interface StoreProblem extends Finding {
  readonly mac: Mac;
  readonly id: string;
  /** Behind the prefix, with a slash at its end. */
  readonly folder: string;
  /** Which station has put it there, as far as that is known. */
  readonly station: string | null;
}

/** What should be in the bucket; without a station where it was found missing. */
interface Expected extends Pick<StoredBackup, 'mac' | 'id' | 'folder' | 'at'> {
  readonly station: string | null;
}

export interface VerifyPlan {
  /** What is read. */
  readonly items: readonly StoredName[];
  readonly bytes: number;
  /** All backups that lie there, of the boards that were asked for. */
  readonly of: number;
  /** Told of as complete, and not there. */
  readonly missing: readonly StoreProblem[];
  /** Folders without SHA256SUMS: on their way, given up, or being removed. */
  readonly incomplete: number;
  readonly foreign: { readonly count: number; readonly names: readonly string[] };
  /** When the run began that this one goes on with, ms since 1970; null: a new one, or a part. */
  readonly passMs: number | null;
}

export interface VerifyOutcome {
  readonly checked: number;
  readonly readBytes: number;
  readonly problems: readonly StoreProblem[];
  /** What ended it early; undefined: all of the plan was read. */
  readonly fault: unknown;
}

/** With as many backups under way a store far away is kept busy. */
const AT_ONCE = 3;
const MAX_NAMES = 100;

export class StoreVerifier {
  readonly #parts: VerifyParts;
  #times: VerifiedTimes | undefined;

  constructor(parts: VerifyParts) {
    this.#parts = parts;
  }

  /** Lists, and reads nothing. @throws EspdError `store-...`; the signal's reason */
  async plan(options: VerifyOptions): Promise<VerifyPlan> {
    const { archive, bucket, clock } = this.#parts;
    const { only, sample, newest = false, goesOn = false, signal, onListed } = options;
    const names: string[] = [];
    let foreign = 0;
    const inventory = await takeInventory(bucket.store, bucket.layout.prefix, {
      ...{ signal, onProgress: onListed },
      ...(only === undefined ? {} : { under: await this.#foldersOf(only, signal) }),
      onForeign: (key) => {
        foreign++;
        if (names.length < MAX_NAMES) names.push(key);
      },
    });
    const isListed = ({ folder }: Expected) => inventory.copies.get(folder)?.files.has(CHECKSUMS) === true;
    const missing = await this.#missing(only ?? (await archive.boards()).macs, isListed, signal);
    const all = itemsOf(inventory, only);
    const times = await this.#verifiedTimes();
    if (only === undefined) times.forgetAllBut(all);
    const timeOf = ({ mac, id }: StoredName) => times.of(mac, id);
    const nowMs = clock.date().getTime();
    const isWhole = only === undefined && sample === undefined && !newest;
    let items: readonly StoredName[] = newest ? newestOf(all) : all;
    let passMs: number | null = null;
    if (isWhole) {
      // One of the future was begun by a wrong clock.
      const begunMs = times.passMs !== null && times.passMs <= nowMs ? times.passMs : null;
      if (goesOn && begunMs === null) {
        throw new EspdError(
          'usage',
          'There is nothing to go on with: the last run was not broken off, or there was none',
          {
            hint: 'Begin one: espd verify --store',
          },
        );
      }
      passMs = goesOn && begunMs !== null ? begunMs : nowMs;
      const sinceMs = passMs;
      items = sortOldest(
        all.filter((item) => !goesOn || timeOf(item) < sinceMs || timeOf(item) > nowMs),
        timeOf,
      );
    } else if (sample !== undefined) items = chooseSample(items, sample, timeOf);
    const bytes = items.reduce((sum, item) => sum + sizeOf(item), 0);
    const incomplete = [...inventory.copies.values()].filter((copy) => !isComplete(copy)).length;
    return { items, bytes, of: all.length, missing, incomplete, foreign: { count: foreign, names }, passMs };
  }

  /** Never rejects once it reads: what has ended it, the signal too, is the `fault` of the outcome. */
  async run(
    { items, passMs }: VerifyPlan,
    {
      signal,
      onProgress,
      onProblem,
    }: {
      readonly signal: AbortSignal;
      readonly onProgress?: (item: Pick<StoredName, 'mac' | 'id'>, done: number, readBytes: number) => void;
      readonly onProblem?: (problem: StoreProblem) => void;
    },
  ): Promise<VerifyOutcome> {
    const { bucket, clock, bandwidth } = this.#parts;
    const { store, readBytes } = metered(bucket.store, paceTo(bandwidth, clock));
    const times = await this.#verifiedTimes();
    if (passMs !== null) await times.save(passMs);
    const problems: StoreProblem[] = [];
    /** What the store has not given out: of no account if the store is the matter. */
    const refused: StoreProblem[] = [];
    const refusals = new Refusals();
    let checked = 0;
    let fault: unknown;
    // What fails ends the others as well.
    const ending = new AbortController();
    const either = AbortSignal.any([signal, ending.signal]);
    try {
      const work = async ({ mac, id, copies }: StoredName) => {
        onProgress?.({ mac, id }, checked, readBytes());
        const found: StoreProblem[] = [];
        const notRead: StoreProblem[] = [];
        for (const copy of copies) {
          try {
            found.push(...(await this.#check({ ...bucket, store }, copy, either)));
            refusals.served();
          } catch (error) {
            const refusal = toEspdError(error);
            if (either.aborted || !refusals.isOfOne(refusal)) throw error;
            notRead.push(await this.#notRead(copy, refusal));
          }
        }
        problems.push(...found);
        found.forEach((problem) => onProblem?.(problem));
        refused.push(...notRead);
        if (notRead.length === 0) checked++;
        const nowMs = clock.date().getTime();
        // What is not sound is read again by a run that goes on: that one must not end well.
        const soundMs =
          found.length + notRead.length === 0 ? nowMs : Math.min(nowMs, (times.passMs ?? Number.POSITIVE_INFINITY) - 1);
        await times.note(mac, id, soundMs);
      };
      await forEachAtOnce(
        items,
        AT_ONCE,
        (item) =>
          work(item).catch((error: unknown) => {
            fault ??= error;
            ending.abort();
            throw error;
          }),
        signal,
      );
      // What was not given out is left for a run that goes on.
      if (passMs !== null && refused.length === 0) await times.save(null);
    } catch (error) {
      fault ??= error;
    } finally {
      await times.save();
    }
    if (fault === undefined) {
      problems.push(...refused);
      refused.forEach((problem) => onProblem?.(problem));
    }
    // In whatever order they were found, of several that are read at once.
    problems.sort((a, b) =>
      a.folder === b.folder ? Number(a.file > b.file) - Number(a.file < b.file) : a.folder < b.folder ? -1 : 1,
    );
    return { checked, readBytes: readBytes(), problems, fault };
  }

  async #check(bucket: Readable, copy: StoredCopy, signal: AbortSignal): Promise<readonly StoreProblem[]> {
    const { mac, id, folder } = copy;
    const told = (await this.#told(mac)).find((each) => each.folder === folder);
    const findings = await checkCopy(bucket, copy, told, signal);
    const about = { mac, id, folder, station: told?.station ?? null };
    if (findings !== undefined) return findings.map((each) => ({ ...about, ...each }));
    // It was there a moment ago.
    return this.#missing([mac], (each) => each.folder !== folder, signal);
  }

  async #notRead({ mac, id, folder }: StoredCopy, error: EspdError): Promise<StoreProblem> {
    const told = (await this.#told(mac)).find((each) => each.folder === folder);
    const problem = `cannot be read: ${error.message}`;
    return { mac, id, folder, station: told?.station ?? null, file: '', problem, error };
  }

  async #told(mac: Mac): Promise<readonly StoredBackup[]> {
    return (await this.#parts.archive.elsewhere.of(mac)).filter(({ store }) => store === this.#parts.bucket.id);
  }

  /** What should be there by all that is known here, also what a scan has found missing before. */
  async #expected(mac: Mac): Promise<readonly Expected[]> {
    const { archive, bucket } = this.#parts;
    const lost = (await archive.elsewhere.gone(mac)).filter(
      (gone) => gone.isMissing === true && gone.store === bucket.id,
    );
    return [...(await this.#told(mac)), ...lost.map((gone) => ({ ...gone, station: null }))];
  }

  /** A list may lag, and so may what is known here: the object itself is asked for, and the journals are read. */
  async #missing(
    macs: Iterable<Mac>,
    isThere: (told: Expected) => boolean,
    signal: AbortSignal,
  ): Promise<readonly StoreProblem[]> {
    const find = async (some: Iterable<Mac>) => {
      const gone: Expected[] = [];
      for (const mac of some) {
        signal.throwIfAborted();
        await inGroups(
          (await this.#expected(mac)).filter((told) => !isThere(told)),
          async (told) => {
            if (await this.#isGone(told, signal)) gone.push(told);
          },
        );
      }
      return gone;
    };
    const first = await find(macs);
    if (first.length === 0) return [];
    await this.#parts.hear(signal);
    return (await find(new Set(first.map(({ mac }) => mac)))).map(missingOf);
  }

  /** And nobody is removing it. */
  async #isGone({ folder }: Expected, signal: AbortSignal): Promise<boolean> {
    const { store, layout } = this.#parts.bucket;
    if ((await store.head(layout.prefix + folder + CHECKSUMS, { signal })) !== undefined) return false;
    return (await store.head(removalKey(layout.prefix, folder), { signal })) === undefined;
  }

  /** Of the boards, in the bucket's own folder and in those of the stations. */
  async #foldersOf(only: ReadonlySet<Mac>, signal: AbortSignal): Promise<string[]> {
    const { store, layout } = this.#parts.bucket;
    const homes = [''];
    for (let from: string | null = null; ;) {
      const page = await store.list({ prefix: layout.prefix + STATIONS, folders: true, from, signal });
      homes.push(...page.folders.map((key) => key.slice(layout.prefix.length)));
      if (page.next === null) break;
      from = page.next;
    }
    return [...only].flatMap((mac) => homes.map((home) => `${home}${macToFolder(mac)}/`));
  }

  /** Derived: what cannot be kept costs no more than the order. */
  async #verifiedTimes(): Promise<VerifiedTimes> {
    const { stateFolder } = this.#parts;
    this.#times ??= await VerifiedTimes.read({
      read: (name) => readFile(join(stateFolder, name)).catch(() => undefined),
      write: (name, content) => replaceFile(join(stateFolder, name), String(content)).catch(() => undefined),
    });
    return this.#times;
  }
}

function itemsOf({ copies }: Inventory, only: ReadonlySet<Mac> | undefined): StoredName[] {
  const isMeant = (copy: StoredCopy) => isComplete(copy) && (only === undefined || only.has(copy.mac));
  return [...namesOf(copies.values(), isMeant).values()];
}

function newestOf(items: readonly StoredName[]): StoredName[] {
  const newest = new Map<Mac, StoredName>();
  for (const item of items) if (item.id > (newest.get(item.mac)?.id ?? '')) newest.set(item.mac, item);
  return [...newest.values()];
}

function isComplete({ files }: StoredCopy): boolean {
  return files.has(CHECKSUMS);
}

function sizeOf({ copies }: StoredName): number {
  return copies.reduce((sum, { files }) => [...files.values()].reduce((bytes, each) => bytes + each.sizeBytes, sum), 0);
}

function missingOf({ mac, id, folder, station, at }: Expected): StoreProblem {
  const why = station === null ? `found so before (${at})` : `${station} has told of it as complete there (${at})`;
  const problem = `is missing: ${why}`;
  const error = new EspdError('store-damaged', `Backup ${id} of ${mac} is not in the object store`, {
    hint: MEND_HINT,
  });
  return { mac, id, folder, station, file: '', problem, error };
}
