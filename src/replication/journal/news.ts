/** What a look at the journals has brought: told to people and to the bus. */

import type { ErrorCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import { type MayHavePinned, isGivenUp, mayHavePinned } from './gone.ts';
import type { Heard } from './state.ts';
import { countOf } from './unread.ts';

/** Of what is foreign so many names are told. */
const MAX_NAMES = 10;

export interface News {
  /** That said something which was not known. */
  readonly stations: readonly string[];
  /** Of which something new is known. */
  readonly macs: readonly Mac[];
  /** Of those: what they are called, or what is noted of them, is new. */
  readonly described: readonly Mac[];
  readonly backups: number;
  /** Backups that are not in the store any more. */
  readonly removed: number;
  /** Lines of labels, pins, sightings and the like. */
  readonly marks: number;
  readonly troubles: readonly Trouble[];
  /** Stations that are gone for ever and may have told of pins in what cannot be read; of the same moment as `troubles`. */
  readonly mayHavePinned: readonly MayHavePinned[];
  /** Names of objects among the journals that are none of espd's; the first of them. */
  readonly foreign: readonly string[];
  /** There is more to be read, at once. */
  readonly isMore: boolean;
}

/** What of a station's journal cannot be read, or is not taken in. */
export interface Trouble {
  readonly station: string;
  readonly code: ErrorCode;
  readonly message: string;
  /** How many segments; 0 = single lines. */
  readonly segments: number;
  /** ISO 8601 UTC; null = just now. */
  readonly since: string | null;
  /** This station has said it, and its archive has lost it. */
  readonly isOwn?: true;
}

export class NewsBook {
  isMore = false;
  readonly #stations = new Set<string>();
  readonly #macs = new Set<Mac>();
  readonly #described = new Set<Mac>();
  readonly #counts = { backups: 0, removed: 0, marks: 0 };
  readonly #lines = new Map<string, Trouble>();
  readonly #foreign = new Set<string>();
  #unread: readonly Trouble[] = [];
  #mayHavePinned: readonly MayHavePinned[] = [];

  add(station: string, mac: Mac, what: 'backups' | 'removed' | 'marks', count = 1): void {
    if (count === 0) return;
    this.#stations.add(station);
    this.#macs.add(mac);
    this.#counts[what] += count;
  }

  describe(mac: Mac): void {
    this.#described.add(mac);
  }

  foreign(names: readonly string[]): void {
    for (const name of names) if (this.#foreign.size < MAX_NAMES) this.#foreign.add(name);
  }

  strange(station: string, seq: number, count: number): void {
    const lines = count === 1 ? 'a line' : `${count} lines`;
    const message = `Segment ${seq} of the journal of ${station} has ${lines} that espd would not write; the others are taken in`;
    this.#lines.set(`${station} strange`, { station, code: 'store-damaged', message, segments: 0, since: null });
  }

  /** A file of a board takes no more of others. */
  full(station: string, mac: Mac, file: string, maxBytes: number): void {
    const message = `${file} of ${mac} has ${Math.round(maxBytes / 1024 / 1024)} MiB and takes no more lines of other stations; ${station} has some`;
    this.#lines.set(`${station} full`, { station, code: 'archive-unwritable', message, segments: 0, since: null });
  }

  /** What cannot be read, of all stations. */
  note({ stations }: Heard): void {
    this.#unread = troublesOf({ stations });
    this.#mayHavePinned = mayHavePinned({ stations });
  }

  news(): News {
    return {
      stations: [...this.#stations].sort(),
      macs: [...this.#macs].sort(),
      described: [...this.#described].sort(),
      ...this.#counts,
      troubles: [...this.#unread, ...this.#lines.values()],
      mayHavePinned: this.#mayHavePinned,
      foreign: [...this.#foreign].sort(),
      isMore: this.isMore,
    };
  }
}

/**
 * One for each reason and station: the segments of it counted together, with the words of the first. Not those of which a
 * person has said that they are lost.
 */
export function troublesOf({ stations }: Pick<Heard, 'stations'>): Trouble[] {
  return Object.entries(stations).flatMap(([station, heard]) => {
    const byCode = new Map<string, Trouble>();
    const own = heard.isOwn === true ? { isOwn: true as const } : {};
    for (const { code, message, since, from, to } of heard.unread.filter((entry) => !isGivenUp(heard, entry))) {
      const before = byCode.get(code) ?? { station, code, message, segments: 0, since, ...own };
      byCode.set(code, { ...before, segments: before.segments + countOf([{ from, to }]) });
    }
    return [...byCode.values()];
  });
}
