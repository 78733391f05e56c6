/** All boards at a glance, for many who ask at once: the archive is looked at once for all of them. */

import type { Archive } from '../archive/types.ts';
import { type Clock, unlessAborted } from '../clock.ts';
import type { EventType } from '../daemon/event-types.ts';
import type { EventSource } from '../daemon/events.ts';
import { overviewJson } from '../documents/board.ts';
import { problemJson } from '../documents/problem.ts';
import type { EspdCall } from '../transfer/finish-command.ts';

/** Other programs change the archive as well: what was seen is believed for so long. */
const FRESH_MS = 2000;

export interface BoardListParts {
  readonly archive: Archive;
  readonly call: EspdCall;
  readonly clock: Clock;
  readonly events: EventSource;
}

export class BoardList {
  readonly #parts: BoardListParts;
  /** `seq`: the last event before the look began. */
  #looking: { readonly seq: number; readonly atMs: number; readonly list: Promise<object> } | undefined;

  constructor(parts: BoardListParts) {
    this.#parts = parts;
  }

  /** @throws EspdError as {@link Archive.overview}; the signal's reason */
  json(signal: AbortSignal): Promise<object> {
    const { clock, events } = this.#parts;
    const nowMs = clock.now();
    const looking = this.#looking;
    const isFresh = looking !== undefined && nowMs - looking.atMs < FRESH_MS && !hasChanged(events, looking.seq);
    if (isFresh) return unlessAborted(looking.list, signal);
    const list = this.#look();
    this.#looking = { seq: events.lastSeq, atMs: nowMs, list };
    list.catch(() => {
      if (this.#looking?.list === list) this.#looking = undefined;
    });
    return unlessAborted(list, signal);
  }

  async #look(): Promise<object> {
    const { archive, call } = this.#parts;
    // Whoever asked first may have gone; the others still want it.
    const { signal } = new AbortController();
    const { boards, problems, foreign } = await archive.overview({ signal });
    const rows: object[] = [];
    for (const board of boards) {
      const { json } = await overviewJson({ archive, call, signal }, board);
      rows.push({ ...json, isDamaged: board.problems.length > 0 });
    }
    return {
      boards: rows,
      total: rows.length,
      problems: [...problems, ...boards.flatMap((board) => board.problems)].map(problemJson),
      foreign: [...foreign, ...boards.flatMap((board) => board.foreign)],
    };
  }
}

const CHANGING: ReadonlySet<EventType> = new Set([
  'backup-kept',
  'backup-unchanged',
  'pruned',
  'job-done',
  'half-restored',
  'board-described',
  'clone-done',
]);

function hasChanged(events: EventSource, seq: number): boolean {
  return events.since(seq).events.some(({ type }) => CHANGING.has(type));
}
