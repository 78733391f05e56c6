/** All boards at a glance, for many who ask at once: the archive is looked at once for all of them. */

import { createHash } from 'node:crypto';
import { forEachAtOnce } from '../archive/at-once.ts';
import type { Archive } from '../archive/types.ts';
import { type Clock, unlessAborted } from '../clock.ts';
import type { EventType } from '../daemon/event-types.ts';
import type { EventSource } from '../daemon/events.ts';
import { overviewJson } from '../documents/board.ts';
import { problemJson } from '../documents/problem.ts';
import type { Mac } from '../mac.ts';
import type { EspdCall } from '../transfer/finish-command.ts';

/** Other programs change the archive as well: what was seen is believed for so long. */
const FRESH_MS = 2000;
/** Of boards that were restored more than an overview has to be read. */
const AT_ONCE = 16;

export interface BoardListParts {
  readonly archive: Archive;
  readonly call: EspdCall;
  readonly clock: Clock;
  readonly events: EventSource;
}

/** A document as it is sent: of thousands of boards, made once for all who ask. */
export interface ListText {
  readonly text: string;
  /** Strong: another one for each other text (RFC 9110, 8.8.3). */
  readonly tag: string;
}

export class BoardList {
  readonly #parts: BoardListParts;
  /** `seq`: the last event before the look began. */
  #looking: { readonly seq: number; readonly atMs: number; readonly list: Promise<ListText> } | undefined;

  constructor(parts: BoardListParts) {
    this.#parts = parts;
  }

  /** @throws EspdError as {@link Archive.overview}; the signal's reason */
  all(signal: AbortSignal): Promise<ListText> {
    const { clock, events } = this.#parts;
    const nowMs = clock.now();
    const looking = this.#looking;
    const isFresh = looking !== undefined && nowMs - looking.atMs < FRESH_MS && !hasChanged(events, looking.seq);
    if (isFresh) return unlessAborted(looking.list, signal);
    // Whoever asked first may have gone; the others still want it.
    const list = this.#look({ signal: new AbortController().signal }).then(toText);
    this.#looking = { seq: events.lastSeq, atMs: nowMs, list };
    list.catch(() => {
      if (this.#looking?.list === list) this.#looking = undefined;
    });
    return unlessAborted(list, signal);
  }

  /** These boards alone, as they are now; what the archive does not have is left out. @throws as {@link all} */
  some(only: ReadonlySet<Mac>, signal: AbortSignal): Promise<object> {
    return this.#look({ signal, only });
  }

  async #look(options: { readonly signal: AbortSignal; readonly only?: ReadonlySet<Mac> }): Promise<object> {
    const { archive, call } = this.#parts;
    const { boards, problems, foreign } = await archive.overview(options);
    const rows: object[] = [];
    await forEachAtOnce(
      boards,
      AT_ONCE,
      async (board, index) => {
        const { json } = await overviewJson({ archive, call, signal: options.signal }, board);
        rows[index] = { ...json, isDamaged: board.problems.length > 0 };
      },
      options.signal,
    );
    return {
      boards: rows,
      total: rows.length,
      problems: [...problems, ...boards.flatMap((board) => board.problems)].map(problemJson),
      foreign: [...foreign, ...boards.flatMap((board) => board.foreign)],
    };
  }
}

function toText(document: object): ListText {
  const text = `${JSON.stringify(document)}\n`;
  return { text, tag: `"${createHash('sha256').update(text).digest('hex').slice(0, 32)}"` };
}

const CHANGING: ReadonlySet<EventType> = new Set([
  'backup-kept',
  'backup-unchanged',
  'backup-removed',
  'backup-imported',
  'backup-pulled',
  'backup-released',
  'store-removed',
  'pruned',
  'job-done',
  'job-failed',
  'half-restored',
  'board-restored',
  'board-described',
  'stations-heard',
  'store-compared',
  'clone-done',
]);

function hasChanged(events: EventSource, seq: number): boolean {
  return events.since(seq).events.some(({ type }) => CHANGING.has(type));
}
