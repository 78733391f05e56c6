/**
 * One pass over an app: which texts it carries. Knows nothing of any firmware; names/recognizers.ts says what is looked for.
 *
 * Works on pieces, so that four megabytes do not hold up the event loop: each piece costs a few milliseconds, and the
 * caller reads the next one from disk in between.
 */

import { TextSearch } from './text-search.ts';

/** A text whose surroundings say a version. */
export interface VersionMark {
  /** Latin-1; what is searched for. */
  readonly text: string;
  /** The version in the {@link WINDOW} characters from the text on, or undefined. */
  readonly read: (window: string) => string | undefined;
}

export interface Wanted {
  /** Texts of which only the presence matters. Latin-1, NULs included. */
  readonly marks: readonly string[];
  readonly versionMarks: readonly VersionMark[];
}

export interface Findings {
  readonly marks: ReadonlySet<string>;
  /** Distinct answers of a mark: two of them mean that it says nothing; null where it stands too often to be read each time. */
  versionsOf(mark: VersionMark): readonly string[] | null;
  /**
   * Texts of their own that look like a version (`0.14.4`, `v1.14.0`, `2.2.2-dev(38a443e)`, `20230913-112003/v1.14.0`), distinct;
   * null where there are too many, or where not all of the app was seen: then nobody can say that one is the only one.
   */
  readonly standalone: readonly string[] | null;
}

/** How many characters from its start a version mark gets to see; no mark is longer. */
export const WINDOW = 256;
/** How many characters before a place tell whether a text begins there. */
const CONTEXT = 1;
/** Of one version mark; an app with more of them is none that wants to be understood. */
const MAX_HITS = 1000;
/** Distinct answers that are kept of one mark: the second says that there is more than one. */
const MAX_VERSIONS = 2;
const MAX_STANDALONE = 512;

/**
 * A date that a build begins with, the numbers, what may follow them, and a bracket with a commit or a date; then the end of
 * the string. A text that ends in a version (compilers share the ends of strings) counts as well, if the character before
 * it is none of a version.
 */
const STANDALONE = /(?:\d{8}-\d{6}\/)?v?\d{1,4}(?:\.\d{1,4}){2,3}[\w.+@-]{0,40}(?:\([\w: ]{7,24}\))?(?=\0)/g;
const PART_OF_VERSION = /[\w.+-]/;

interface Seen {
  readonly mark: VersionMark;
  readonly versions: Set<string>;
  hits: number;
}

export class TextScan {
  readonly #marks: readonly string[];
  readonly #seen: readonly Seen[];
  readonly #search: TextSearch;
  readonly #found = new Set<string>();
  readonly #standalone = new Set<string>();
  #bytes: Buffer = Buffer.alloc(0);
  /** The place in the bytes from which on nothing has been looked at. */
  #from = 0;

  constructor({ marks, versionMarks }: Wanted) {
    this.#marks = marks;
    this.#seen = versionMarks.map((mark) => ({ mark, versions: new Set(), hits: 0 }));
    this.#search = new TextSearch([...marks, ...versionMarks.map(({ text }) => text)]);
  }

  /** The next bytes of the app; best not more than 256 KiB at once. */
  add(piece: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, piece]);
    this.#lookAt(this.#bytes.length - WINDOW);
  }

  /** @param isWhole whether all of the app went through {@link add} */
  finish(isWhole: boolean): Findings {
    this.#lookAt(this.#bytes.length);
    return {
      marks: this.#found,
      versionsOf: (mark) => {
        const seen = this.#seen.find((each) => each.mark === mark);
        return seen !== undefined && seen.hits >= MAX_HITS ? null : [...(seen?.versions ?? [])];
      },
      standalone: isWhole && this.#standalone.size <= MAX_STANDALONE ? [...this.#standalone] : null,
    };
  }

  /** Looks at all that begins before `end`; what begins there or later waits for its surroundings. */
  #lookAt(end: number): void {
    if (end <= this.#from) return;
    const bytes = this.#bytes;
    this.#search.each(bytes, this.#from, end, (index, at) => {
      const mark = this.#marks[index];
      if (mark !== undefined) this.#found.add(mark);
      const seen = this.#seen[index - this.#marks.length];
      if (seen !== undefined) readVersion(seen, bytes, at);
    });
    this.#readStandalone(end);

    const keepFrom = Math.max(0, end - CONTEXT);
    this.#bytes = bytes.subarray(keepFrom);
    this.#from = end - keepFrom;
  }

  #readStandalone(end: number): void {
    const text = this.#bytes.toString('latin1');
    STANDALONE.lastIndex = this.#from;
    for (let match = STANDALONE.exec(text); match !== null; match = STANDALONE.exec(text)) {
      if (match.index >= end || this.#standalone.size > MAX_STANDALONE) break;
      if (!PART_OF_VERSION.test(text[match.index - 1] ?? '\0')) this.#standalone.add(match[0]);
    }
  }
}

function readVersion(seen: Seen, bytes: Buffer, at: number): void {
  if (seen.hits >= MAX_HITS || seen.versions.size >= MAX_VERSIONS) return;
  seen.hits += 1;
  const version = seen.mark.read(bytes.toString('latin1', at, at + WINDOW));
  if (version !== undefined) seen.versions.add(version);
}
