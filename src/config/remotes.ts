/** `watch.remotes` of the config: ports of other machines, each by a name of its own. */

import { z } from 'zod';
import { parseMac } from '../mac.ts';
import { remoteAddress, remoteNameProblem, remoteUrlProblem } from '../serial/remotes.ts';
import { type SpanUnit, parseSpan } from './span.ts';

export const REMOTE_SPANS: readonly SpanUnit[] = ['m', 'h', 'd'];
/** A look resets the board. */
const SHORTEST_MS = 10 * 60_000;
const LONGEST_MS = 366 * 86_400_000;

const remoteSchema = z
  .strictObject({
    url: z
      .string()
      .max(512)
      .superRefine(told(remoteUrlProblem))
      .describe('rfc2217://HOST:PORT of a serial port server such as ser2net.'),
    name: z
      .string()
      .superRefine(told((name) => (parseMac(name) === undefined ? remoteNameProblem(name) : 'wants a name, not a MAC')))
      .describe('What the port is called: 1 to 32 letters, digits, dots, dashes or underscores. For --port as well.'),
    every: z
      .string()
      .max(32)
      .refine((value) => isWithin(parseSpan(value, REMOTE_SPANS)), {
        message: 'wants a time from 10m to 366d, such as 12h or 7d',
      })
      .nullable()
      .default(null)
      .describe(
        'How long after the last look its board is looked at again, which resets it: 12h, 7d. null: only when it was away, ' +
          'when the daemon starts, and when somebody asks.',
      ),
  })
  .describe('A port of another machine.');

export const remotesSchema = z
  .array(remoteSchema)
  .max(256)
  .superRefine((remotes, context) => {
    const seen = { name: new Map<string, number>(), url: new Map<string, number>() };
    for (const [index, { name, url }] of remotes.entries()) {
      for (const [key, value] of [
        ['name', name.toLowerCase()],
        ['url', remoteAddress(url)],
      ] as const) {
        const first = seen[key].get(value);
        if (first === undefined) seen[key].set(value, index);
        else context.addIssue({ code: 'custom', path: [index, key], message: repeated(key, first) });
      }
    }
  })
  .default([])
  .describe('Ports of other machines over RFC 2217; every one of them is taken for a board.');

function isWithin(spanMs: number | null): boolean {
  return spanMs !== null && spanMs >= SHORTEST_MS && spanMs <= LONGEST_MS;
}

function repeated(key: 'name' | 'url', first: number): string {
  const what = key === 'name' ? 'a name' : 'a server and port';
  return `wants ${what} that no other remote has: number ${first + 1} of the list has it`;
}

function told(problemOf: (text: string) => string | undefined) {
  return (text: string, context: z.RefinementCtx): void => {
    const message = problemOf(text);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  };
}
