/**
 * What a backup that is being made may take from other stations: their newest backup of the board, images of boards like
 * it, and a way to fetch them. Which backups there are, the archive knows; the store is asked for bytes alone.
 */

import type { StoredBackup } from '../archive/elsewhere/types.ts';
import type { Archive, Backup, ImageReader } from '../archive/types.ts';
import type { Logger } from '../log.ts';
import type { Mac } from '../mac.ts';
import type { BlockLibrary } from './blocks/block-library.ts';
import type { Fleet } from './open.ts';
import { pullBackup } from './pull.ts';
import { openStoredImage } from './stored-image.ts';

/** Hints that turn out to be of backups that are gone are passed over: so many more are asked for. */
const SPARE_HINTS = 6;
/** Boards that are looked through in one go while the library is filled. */
const YIELD_EVERY = 20;

export interface OtherStationsParts {
  readonly archive: Archive;
  readonly library: BlockLibrary;
  readonly fleet: Pick<Fleet, 'openToRead'>;
}

/** What `transfer/elsewhere.ts` asks for. */
export class OtherStationsOfStore {
  readonly #parts: OtherStationsParts;

  constructor(parts: OtherStationsParts) {
    this.#parts = parts;
  }

  async newestOf(mac: Mac, newestHere = ''): Promise<StoredBackup | undefined> {
    const newest = (await this.#parts.archive.elsewhere.of(mac)).at(-1);
    return newest !== undefined && newest.id > newestHere ? newest : undefined;
  }

  async likely(
    probes: ReadonlyMap<number, string>,
    limit: number,
  ): Promise<readonly { readonly backup: StoredBackup; readonly hits: number }[]> {
    const { archive, library } = this.#parts;
    const found: { backup: StoredBackup; hits: number }[] = [];
    for (const { mac, id, hits } of await library.likely(probes, limit + SPARE_HINTS)) {
      if (found.length >= limit) break;
      const backup = (await archive.elsewhere.of(mac)).find((each) => each.id === id);
      if (backup !== undefined) found.push({ backup, hits });
    }
    return found;
  }

  async open(backup: StoredBackup, signal: AbortSignal): Promise<ImageReader> {
    return openStoredImage(await this.#parts.fleet.openToRead(), backup, signal);
  }

  async bring(backup: StoredBackup, signal: AbortSignal): Promise<Backup> {
    const { archive, fleet } = this.#parts;
    return (await pullBackup(await fleet.openToRead(), archive, backup, { signal })).backup;
  }
}

/**
 * Fills a library that is missing from what the archive knows of the store, slowly: packets of boards come first. Never
 * rejects but with the signal's reason.
 */
export async function fillLibrary(
  library: BlockLibrary,
  archive: Pick<Archive, 'boards' | 'elsewhere'>,
  { log, signal }: { readonly log: Logger; readonly signal: AbortSignal },
): Promise<void> {
  if (!(await library.isMissing())) return;
  const macs = await archive.boards().then(
    (boards) => boards.macs,
    () => [],
  );
  let backups = 0;
  for (const [index, mac] of macs.entries()) {
    signal.throwIfAborted();
    for (const { id, manifest } of await archive.elsewhere.of(mac)) {
      await library.add({ mac, id, blocksMd5: manifest.blocks.md5 });
      backups++;
    }
    if (index % YIELD_EVERY === 0) await new Promise(setImmediate);
  }
  await library.flush();
  await library.tidy(signal);
  if (backups > 0) log.debug('The library of blocks was made anew', { boards: macs.length, backups });
}
