/** A look whether what is to stay is really there, before anything else of its board goes. */

import type { Mac } from '../../mac.ts';
import type { ObjectStore } from '../../store/types.ts';
import { CHECKSUMS } from '../local-backup.ts';
import { inGroups } from './in-groups.ts';
import type { Union } from './union.ts';

/** Whether all is there that is to stay of a board: a list may name what was removed a moment ago. */
export class KeptOnes {
  readonly #missing = new Map<Mac, Promise<string | undefined>>();
  readonly #store: ObjectStore;
  readonly #prefix: string;
  readonly #keysOf = new Map<Mac, { readonly id: string; readonly folder: string }[]>();

  constructor(
    store: ObjectStore,
    prefix: string,
    { names }: Union,
    verdicts: ReadonlyMap<string, { readonly stays: boolean }>,
  ) {
    this.#store = store;
    this.#prefix = prefix;
    for (const [key, { mac, id, copies }] of names) {
      if (verdicts.get(key)?.stays !== true) continue;
      const ofBoard = this.#keysOf.get(mac) ?? [];
      this.#keysOf.set(mac, ofBoard);
      for (const { folder } of copies) ofBoard.push({ id, folder });
    }
  }

  /** The id of one that is not; undefined = all are. */
  missing(mac: Mac, signal: AbortSignal): Promise<string | undefined> {
    const known = this.#missing.get(mac) ?? this.#look(mac, signal);
    this.#missing.set(mac, known);
    return known;
  }

  async #look(mac: Mac, signal: AbortSignal): Promise<string | undefined> {
    let missing: string | undefined;
    await inGroups(this.#keysOf.get(mac) ?? [], async ({ id, folder }) => {
      if ((await this.#store.head(this.#prefix + folder + CHECKSUMS, { signal })) === undefined) missing = id;
    });
    return missing;
  }
}
