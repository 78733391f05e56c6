/** What the API takes: bodies and queries of requests, as zod schemas. OpenAPI is made of the same. */

import { z } from 'zod';
import { parseMac } from '../../mac.ts';

const port = z.string().min(1).max(4096).describe('Address of a port, such as /dev/ttyUSB0, or another name of it.');
const board = z.string().min(1).max(256).describe('MAC or label of a board.');
const which = z
  .string()
  .min(1)
  .max(100)
  .describe('Which backup: latest, first, a backup id, ID@STATION, or a date (the newest not after it).');

/** So many boards at once are asked for by name; of more the whole list is. */
export const MOST_NAMED_BOARDS = 200;

/** In the query a text, for the handler MACs. */
export const boardsQuery = z.strictObject({
  only: z
    .string()
    .max(MOST_NAMED_BOARDS * 24)
    .optional()
    .describe('Only these boards: MACs, separated by commas. Those that the archive does not have are left out.')
    .transform((text, context) => {
      if (text === undefined) return undefined;
      const macs = text.split(',').map(parseMac);
      const known = macs.filter((mac) => mac !== undefined);
      if (known.length < macs.length) context.addIssue({ code: 'custom', message: 'wants MACs, separated by commas' });
      return new Set(known);
    }),
});

const backup = z
  .strictObject({
    kind: z.literal('backup'),
    port: port.optional(),
    board: board.optional(),
    full: z.boolean().default(false).describe('Every byte crosses the wire.'),
    halfRestored: z.boolean().default(false).describe('Back up a half restored board as it is.'),
  })
  .refine((value) => (value.port === undefined) !== (value.board === undefined), {
    message: 'wants either port or board',
  });
const identify = z.strictObject({ kind: z.literal('identify'), port });
const verify = z.strictObject({ kind: z.literal('verify'), board: board.optional() });
const partitions = z.array(z.string().min(1).max(200)).max(100).default([]);
/** The most boards that one job writes an image to. */
const MOST_CLONES = 100_000;
const restore = z
  .strictObject({
    kind: z.literal('restore'),
    board,
    at: which.default('latest'),
    port: port.optional(),
    to: z.string().max(32).optional().describe('MAC of another board that is meant on purpose.'),
    partitions: partitions.describe('Only these partitions of the image.'),
    keep: partitions.describe('These partitions of the board stay as they are.'),
    dryRun: z.boolean().default(false).describe('Only the plan.'),
    many: z.boolean().default(false).describe('Each board that is plugged in from now on, until the job is ended.'),
    count: z.int().min(1).max(MOST_CLONES).optional().describe('With many: ends after so many boards.'),
  })
  .refine(({ many, port: at, to, dryRun, partitions: only }) => !many || !(at ?? to ?? (dryRun || only.length > 0)), {
    message: 'many goes together with neither port, to, partitions nor dryRun',
  })
  .refine(({ many, count }) => many || count === undefined, { message: 'count goes together with many' });
const finish = z.strictObject({ kind: z.literal('finish'), board, port: port.optional() });
const undo = z.strictObject({ kind: z.literal('undo'), board, port: port.optional() });
const prune = z.strictObject({
  kind: z.literal('prune'),
  dryRun: z.boolean().default(true).describe('Only the plan.'),
});

const pull = z.strictObject({
  kind: z.literal('pull'),
  board,
  at: which.default('latest').describe('Which backup is to be fetched from the object store: as for restore.'),
});

export const jobRequest = z.discriminatedUnion('kind', [backup, identify, verify, restore, finish, undo, prune, pull]);
export type JobRequest = z.output<typeof jobRequest>;

/** The longest hold that ends by itself, in seconds: 24 days. */
const MOST_HOLD_SECONDS = 2_073_600;

export const holdRequest = z.strictObject({
  by: z.string().min(1).max(128).default('somebody').describe('Who holds it, for people.'),
  forSeconds: z
    .number()
    .positive()
    .max(MOST_HOLD_SECONDS)
    .nullable()
    .default(null)
    .describe('Released by itself after so long; null = when it is released.'),
  now: z.boolean().default(false).describe('End a job of the daemon that runs there; else its end is waited for.'),
});

/** A hold that ends with its connection. */
export const leaseRequest = holdRequest.omit({ forSeconds: true });

export const confirmRequest = z.strictObject({
  confirm: z.literal(true).describe('The plan of the job has been seen, and is what is wanted.'),
});

export const eventsQuery = z.strictObject({
  since: z.coerce.number().int().min(0).optional().describe('Go on after the event with this number.'),
  instance: z.string().max(64).optional().describe('The instance of the service that the number is of.'),
  types: z.string().max(4096).optional().describe('Only these types of events, separated by commas.'),
});

const wanted = (what: string) =>
  z.string().max(4096).nullable().optional().describe(`${what}; null or empty clears it.`);
export const labelRequest = z
  .strictObject({ label: wanted('What the board is called'), note: wanted('A note'), group: wanted('Its group') })
  .refine((value) => Object.values(value).some((text) => text !== undefined), {
    message: 'wants one of label, note and group',
  });

export const pinRequest = z.strictObject({
  pinned: z.boolean().describe('A pinned backup is never removed by a policy.'),
  note: z.string().max(4096).nullable().default(null).describe('Why.'),
});

const reveal = z
  .enum(['true', 'false'])
  .default('false')
  .describe('Values of NVS keys as well; of those that name a secret never.');
export const contentsQuery = z.strictObject({ reveal });

const side = z.string().min(1).max(400).describe('BOARD@WHICH: a MAC or label, and which of its backups.');
export const diffQuery = z.strictObject({ from: side, to: side, reveal });

export const imageQuery = z.strictObject({
  partition: z.string().min(1).max(200).optional().describe('Only this partition of the image.'),
  path: z.string().min(1).max(4096).optional().describe('Only this file of a file system in it: /wifi.json.'),
});
