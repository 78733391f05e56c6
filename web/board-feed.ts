/**
 * The list of boards, kept up to date by the stream of events: of a large fleet it is long, so an event has the rows of
 * its boards read again, and no others. Now and then all are asked for, because other programs change the archive, too;
 * the answer is short where nothing has changed.
 */

import type { ServiceEvent } from '../src/daemon/event-types.ts';
import type { BoardsDocument } from './documents.ts';

/** What a list of boards comes from, and where it goes. */
export interface FeedParts {
  /**
   * The document at a path, with its tag.
   * @param tag of what is known: `unchanged` where that is still all
   */
  readonly ask: (
    path: string,
    tag: string | null,
  ) => Promise<{ readonly document: BoardsDocument; readonly tag: string | null } | 'unchanged'>;
  readonly show: (document: BoardsDocument) => void;
  /** Null: it goes well again. */
  readonly fail: (error: unknown) => void;
  /** @returns cancels it */
  readonly schedule: (ms: number, work: () => void) => () => void;
}

/** Many events at once are one question. */
const SETTLE_MS = 1000;
/** All of a large archive takes the daemon some tenths of a second. */
const ALL_SETTLE_MS = 5000;
/** What other programs do is seen at the latest then. */
const LOOK_MS = 5 * 60_000;
const RETRY_MS = 5000;
/** Of more boards the whole list is asked for: the API takes 200 by name. */
const MOST_NAMED = 100;

/** Which boards have another row after an event: MACs, or any of them. */
export type Changed = 'all' | readonly string[];

/** @param ofJob boards that the job of the event has met */
export function changedBy(event: ServiceEvent, ofJob: Iterable<string> = []): Changed {
  switch (event.type) {
    case 'backup-kept':
    case 'backup-unchanged':
    case 'new-board':
    case 'board-described':
    case 'backup-removed':
    case 'backup-imported':
    case 'backup-pulled':
    case 'backup-pushed':
    case 'backup-released':
    case 'store-removed':
    case 'board-restored':
      return [event.mac];
    case 'half-restored':
    case 'clone-done':
      return event.mac === null ? [] : [event.mac];
    case 'stations-heard':
      return event.boards > event.macs.length ? 'all' : event.macs;
    case 'store-compared':
      return event.missing > 0 ? 'all' : [];
    case 'pruned':
      return event.removed > 0 ? 'all' : [];
    case 'archive-damaged':
    case 'archive-verified':
      return 'all';
    case 'job-done':
    case 'job-failed': {
      // What those have changed is told by other events.
      if (event.kind === 'backup' || event.kind === 'identify') return [];
      const macs = [...(event.mac === null ? [] : [event.mac]), ...ofJob];
      return macs.length === 0 ? 'all' : macs;
    }
    default:
      return [];
  }
}

const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/;

/**
 * Whether what a page shows of a board is old after an event.
 * @param board as the address names it; by a label, or null, it may be any
 */
export function isAbout(board: string | null): (event: ServiceEvent) => boolean {
  const isAny = board === null || !MAC.test(board);
  return (event) => {
    if (event.type === 'backup-pinned') return isAny || event.mac === board;
    const changed = changedBy(event);
    if (changed === 'all' || (isAny && changed.length > 0)) return true;
    // A restore onto another board tells of the one that it is of.
    const isOfCommand = changed.length > 0 && (event.type === 'job-done' || event.type === 'job-failed');
    return isOfCommand || (board !== null && changed.includes(board));
  };
}

export class BoardFeed {
  readonly #parts: FeedParts;
  #document: BoardsDocument | undefined;
  #tag: string | null = null;
  #isAsking = false;
  readonly #old = new Set<string>();
  #isAllOld = false;
  /** Boards that jobs have met, until those end: a restore may be onto another board than it is of. */
  readonly #ofJobs = new Map<number, Set<string>>();
  #cancel: () => void = () => undefined;
  /** When the timer rings, in ms from when it was set; undefined = it is not set. */
  #waitsMs: number | undefined;

  constructor(parts: FeedParts) {
    this.#parts = parts;
  }

  /** All that is known may be old: of another daemon, or after a gap. */
  readAll(): void {
    this.#isAllOld = true;
    this.#later(0);
  }

  onEvent(event: ServiceEvent): void {
    const job = 'job' in event && typeof event.job === 'number' ? event.job : undefined;
    if (event.type === 'identified') this.#meet(event.job, event.mac);
    const changed = changedBy(event, job === undefined ? [] : this.#ofJobs.get(job));
    if (event.type === 'job-ended') this.#ofJobs.delete(event.job);
    if (changed === 'all') {
      this.#isAllOld = true;
      this.#later(ALL_SETTLE_MS);
    } else if (changed.length > 0) {
      for (const mac of changed) this.#old.add(mac);
      this.#later(SETTLE_MS);
    }
  }

  #meet(job: number, mac: string): void {
    const met = this.#ofJobs.get(job) ?? new Set();
    this.#ofJobs.set(job, met.add(mac));
  }

  /** The sooner of this and what was said before. */
  #later(ms: number): void {
    if (this.#isAsking || (this.#waitsMs !== undefined && this.#waitsMs <= ms)) return;
    this.#cancel();
    this.#waitsMs = ms;
    this.#cancel = this.#parts.schedule(ms, () => void this.#ask());
  }

  async #ask(): Promise<void> {
    this.#waitsMs = undefined;
    this.#isAsking = true;
    // What becomes old during the answer is asked for once more.
    const named = [...this.#old];
    const isAll = this.#document === undefined || this.#isAllOld || named.length === 0 || named.length > MOST_NAMED;
    this.#old.clear();
    if (isAll) this.#isAllOld = false;
    let nextMs = LOOK_MS;
    try {
      if (isAll) await this.#askAll();
      else await this.#askSome(named);
      this.#parts.fail(null);
    } catch (error) {
      this.#isAllOld ||= isAll;
      for (const mac of named) this.#old.add(mac);
      this.#parts.fail(error);
      nextMs = RETRY_MS;
    }
    this.#isAsking = false;
    if (nextMs === LOOK_MS && this.#old.size > 0) nextMs = SETTLE_MS;
    else if (nextMs === LOOK_MS && this.#isAllOld) nextMs = ALL_SETTLE_MS;
    this.#later(nextMs);
  }

  async #askAll(): Promise<void> {
    const answer = await this.#parts.ask('/v1/boards', this.#tag);
    if (answer === 'unchanged') return;
    this.#tag = answer.tag;
    this.#show(answer.document);
  }

  async #askSome(macs: readonly string[]): Promise<void> {
    const query = new URLSearchParams({ only: macs.join(',') });
    const answer = await this.#parts.ask(`/v1/boards?${query.toString()}`, null);
    if (answer === 'unchanged' || this.#document === undefined) return;
    // The tag is of what all boards were; what is known now is another list.
    this.#tag = null;
    this.#show(merged(this.#document, answer.document, new Set(macs)));
  }

  #show(document: BoardsDocument): void {
    this.#document = document;
    this.#parts.show(document);
  }
}

/**
 * A list with the rows of some boards exchanged.
 * @param asked boards that `rows` is about: one that it lacks is not there any more
 */
export function merged(list: BoardsDocument, rows: BoardsDocument, asked: ReadonlySet<string>): BoardsDocument {
  const others = list.boards.filter(({ mac }) => !asked.has(mac));
  const boards = [...others, ...rows.boards].sort((a, b) => (a.mac < b.mac ? -1 : 1));
  const problems = list.problems.filter(({ mac }) => mac === null || !asked.has(mac));
  return { boards, total: boards.length, problems: [...problems, ...rows.problems] };
}
