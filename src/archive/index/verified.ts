/**
 * When each backup was last hashed as a whole, so that what was not looked at for longest comes first. Derived: where it
 * is lost or wrong, only the order suffers. A line `pass MS` says since when the archive is being gone through; all other
 * lines are `FOLDER ID MS`, in ms since 1970.
 */

import { macFromFolder, macToFolder } from '../../mac.ts';
import type { Mac } from '../../mac.ts';
import { isBackupId } from '../ids.ts';
import type { ArchiveCache } from '../types.ts';

export const VERIFIED = 'verified.txt';

/** So many backups are hashed between two writes of the file: a crash loses as much, and it may have megabytes. */
const SAVE_EVERY = 64;
const LINE = /^([0-9a-f-]{17}) (\S{20}) (\d{1,15})$/;
const PASS = /^pass (\d{1,15})$/;

/** Times by `FOLDER ID`. */
export interface VerifiedContent {
  readonly times: Map<string, number>;
  /** When the pass began that is not done; null where there is none. */
  readonly passMs: number | null;
}

/** Never throws; lines that are none are passed over. */
export function parseVerified(text: string): VerifiedContent {
  const times = new Map<string, number>();
  let passMs: number | null = null;
  for (const line of text.split('\n')) {
    const [, folder = '', id = '', ms = ''] = LINE.exec(line) ?? [];
    if (macFromFolder(folder) !== undefined && isBackupId(id)) times.set(`${folder} ${id}`, Number(ms));
    const pass = PASS.exec(line);
    if (pass !== null) passMs = Number(pass[1]);
  }
  return { times, passMs };
}

export function formatVerified({ times, passMs }: VerifiedContent): string {
  const lines = Array.from(times, ([key, ms]) => `${key} ${Math.round(ms)}\n`);
  return [...(passMs === null ? [] : [`pass ${Math.round(passMs)}\n`]), ...lines].join('');
}

/** Where they are kept; neither call rejects. */
export type VerifiedFiles = Pick<ArchiveCache, 'read' | 'write'>;

/** Read once, and written by and by. No call rejects. */
export class VerifiedTimes {
  readonly #cache: VerifiedFiles;
  #content: VerifiedContent;
  readonly #noted = new Map<string, number>();
  #forgotten: ReadonlySet<string> = new Set();

  private constructor(cache: VerifiedFiles, content: VerifiedContent) {
    this.#cache = cache;
    this.#content = content;
  }

  static async read(cache: VerifiedFiles): Promise<VerifiedTimes> {
    return new VerifiedTimes(cache, await load(cache));
  }

  /** When the pass began that is not done, ms since 1970. */
  get passMs(): number | null {
    return this.#content.passMs;
  }

  /** 0 = never, as far as is known. */
  of(mac: Mac, id: string): number {
    const key = keyOf(mac, id);
    return this.#noted.get(key) ?? this.#content.times.get(key) ?? 0;
  }

  async note(mac: Mac, id: string, ms: number): Promise<void> {
    this.#noted.set(keyOf(mac, id), ms);
    if (this.#noted.size >= SAVE_EVERY) await this.save();
  }

  /** @param passMs undefined leaves the pass as it is */
  async save(passMs?: number | null): Promise<void> {
    if (this.#noted.size === 0 && (passMs === undefined || passMs === this.passMs)) return;
    // Another process may have verified as well.
    const { times, passMs: before } = await load(this.#cache);
    for (const key of this.#forgotten) times.delete(key);
    for (const [key, ms] of this.#noted) times.set(key, ms);
    this.#noted.clear();
    this.#content = { times, passMs: passMs === undefined ? before : passMs };
    await this.#cache.write(VERIFIED, formatVerified(this.#content));
  }

  /** From the next {@link save} on nothing is kept of what was known until now, but of these: all backups that there are. */
  forgetAllBut(backups: Iterable<{ readonly mac: Mac; readonly id: string }>): void {
    const forgotten = new Set(this.#content.times.keys());
    for (const { mac, id } of backups) forgotten.delete(keyOf(mac, id));
    this.#forgotten = forgotten;
  }
}

function keyOf(mac: Mac, id: string): string {
  return `${macToFolder(mac)} ${id}`;
}

async function load(cache: VerifiedFiles): Promise<VerifiedContent> {
  return parseVerified((await cache.read(VERIFIED))?.toString('utf8') ?? '');
}
