/** What became of the boards of one `restore --many`, as its process tells it, and the counters of a production page. */

import { z } from 'zod';
import type { EventOf } from '../daemon/event-types.ts';
import { parseMac } from '../mac.ts';
import { errorSchema } from './contract/session-messages.ts';

const told = z.union([
  z.object({
    board: z.looseObject({
      verdict: z.enum(['pass', 'fail', 'skip']),
      port: z.string(),
      mac: z.string().nullable(),
      error: errorSchema.optional(),
    }),
  }),
  z.object({ report: z.looseObject({}) }),
]);

export interface CloneFacts {
  /** The newest last; at most {@link MOST_TOLD}. */
  readonly boards: readonly object[];
  /** Of all of them. */
  readonly counts: { readonly passed: number; readonly failed: number; readonly skipped: number };
}

/** What an event tells of one of them. */
export type CloneDone = Pick<EventOf<'clone-done'>, 'verdict' | 'port' | 'mac' | 'error'>;

/** Of so many boards the results are kept. */
export const MOST_TOLD = 500;

export class CloneResults {
  readonly #boards: object[] = [];
  readonly #counts = { pass: 0, fail: 0, skip: 0 };

  get facts(): CloneFacts {
    const { pass, fail, skip } = this.#counts;
    return { boards: this.#boards, counts: { passed: pass, failed: fail, skipped: skip } };
  }

  /**
   * @param event as the process tells it
   * @returns a board that is done, or the report of all; undefined for what is neither
   */
  take(event: unknown): { readonly done: CloneDone } | { readonly report: object } | undefined {
    const { data } = told.safeParse(event);
    if (data === undefined || 'report' in data) return data;
    const { verdict, port, mac, error = null } = data.board;
    this.#counts[verdict]++;
    this.#boards.push(data.board);
    if (this.#boards.length > MOST_TOLD) this.#boards.shift();
    return { done: { verdict, port, mac: parseMac(mac ?? '') ?? null, error } };
  }
}
