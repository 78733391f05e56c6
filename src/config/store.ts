/** The section `store`: the bucket into which complete backups are copied. Pure. */

import { z } from 'zod';
import { retentionSchema } from './retention.ts';
import { parseSize } from './size.ts';
import { parseSpan } from './span.ts';

const RATE_WANTED = 'wants bytes a second, such as 500K or 2M: at least 10K';
const SCAN_UNITS = ['h', 'd', 'w'] as const;
const LOOK_UNITS = ['s', 'm', 'h', 'd'] as const;
const MIN_LOOK = '10s';
const MAX_LOOK = '1d';
const MIN_SCAN = '1h';
const MIN_RATE = 10 * 1024;

const text = (maxLength: number) => z.string().min(1).max(maxLength);

/** Shorter than a day nobody could say in time that a backup should stay. */
const MIN_GRACE_MS = 86_400_000;
const GRACE_WANTED = 'wants hours, days or weeks such as 7d: at least 1d';

const secretPlace = () =>
  z.union(
    [
      z.strictObject({
        file: text(4096)
          .regex(/^\//, 'wants an absolute path')
          .describe('A file that its owner alone may read (mode 0600); absolute path.'),
      }),
      z.strictObject({
        systemdCredential: text(255)
          .regex(/^[A-Za-z0-9._-]+$/, 'wants the name of a credential')
          .describe("The name of a credential that the service's unit loads (LoadCredential=)."),
      }),
    ],
    { error: 'wants either file: /path or systemdCredential: NAME' },
  );

export const storeSchema = z.strictObject({
  endpoint: text(2048)
    .refine(isEndpoint, {
      message: 'wants a URL that begins with https:// or http://, without user, query or fragment',
    })
    .describe('Where the S3 interface is, such as https://s3.eu-central-1.amazonaws.com.'),
  bucket: text(63)
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'wants the name of a bucket: 3 to 63 of a-z, 0-9, dot and dash')
    .describe('The bucket; espd makes none.'),
  prefix: z
    .string()
    .max(256)
    // A URL folds dots away: . and .. would be another folder, or another bucket.
    .regex(
      /^(?!(?:.*\/)?\.{1,2}(?:\/|$))(?:[A-Za-z0-9._-]+(?:\/[A-Za-z0-9._-]+)*)?\/?$/,
      'wants a folder such as espd/berlin',
    )
    .default('')
    .describe('Folder in the bucket; empty: the bucket is for espd alone.'),
  region: text(64)
    .regex(/^[a-z0-9-]+$/, 'wants a region such as eu-central-1')
    .default('us-east-1')
    .describe('Region that requests are signed for; us-east-1 where a store has none.'),
  addressing: z
    .enum(['path', 'host'])
    .default('path')
    .describe('path: https://host/bucket/key. host: https://bucket.host/key.'),
  credentials: secretPlace()
    .nullable()
    .default(null)
    .describe(
      'A file as AWS has it (aws_access_key_id = ..., aws_secret_access_key = ...); null: AWS_ACCESS_KEY_ID and the ' +
        'like in the environment.',
    ),
  encryption: z
    .union([z.literal('none'), secretPlace()], {
      error: 'wants a key file (file: /path), or none: whoever may read the bucket then reads Wi-Fi passwords and keys',
    })
    .describe(
      'File with the key of the fleet, 64 hex digits a line, the first one encrypts. none: images lie there readable.',
    ),
  bandwidth: z
    .union([z.int(), z.string().max(32)], { error: RATE_WANTED })
    .refine((value) => (parseSize(value) ?? 0) >= MIN_RATE, { message: RATE_WANTED })
    .nullable()
    .default(null)
    .describe(
      'Bytes a second that uploads may take, and what is read back (verify --store, archive.local), such as 2M; null: no bound.',
    ),
  look: z
    .string()
    .max(32)
    .refine(isLook, { message: `wants a time such as 5m: ${MIN_LOOK} to ${MAX_LOOK}` })
    .default('5m')
    .describe('How often the daemon asks what other stations have put there.'),
  scan: z
    .string()
    .max(32)
    .refine((value) => value === 'off' || isScan(value), {
      message: `wants a time such as 7d: ${MIN_SCAN} or more; or off`,
    })
    .default('7d')
    .describe(
      'How often the daemon lists all that lies there and compares it with what should be there, such as 7d; or off.',
    ),
  retention: retentionSchema
    .nullable()
    .default(null)
    .describe(
      'Which backups of all stations are kept in the bucket, with the keys of `retention`; the same at every station ' +
        'that has it, and nothing goes before a person has said yes to it with `espd prune --store`. null: this station ' +
        'removes nothing there.',
    ),
  lock: z
    .enum(['none', 'pins'])
    .default('none')
    .describe(
      'pins: this station puts a legal hold of the store on pinned backups of all stations, and ends it when they are ' +
        'unpinned. The bucket needs object lock, the credentials s3:PutObjectLegalHold.',
    ),
  grace: z
    .string()
    .max(16)
    .refine((value) => parseGrace(value) !== null, { message: GRACE_WANTED })
    .default('7d')
    .describe('How long a removal from the bucket is announced before it is done, such as 7d; at least 1d.'),
});

/** How long a removal is announced before it is done, in milliseconds; null for every other text. */
export function parseGrace(text: string): number | null {
  const ms = parseSpan(text, ['h', 'd', 'w']);
  return ms === null || ms < MIN_GRACE_MS ? null : ms;
}

export type StoreConfig = z.output<typeof storeSchema>;

function isLook(look: string): boolean {
  const ms = parseSpan(look, LOOK_UNITS) ?? 0;
  return ms >= (parseSpan(MIN_LOOK, LOOK_UNITS) ?? 0) && ms <= (parseSpan(MAX_LOOK, LOOK_UNITS) ?? 0);
}

function isScan(scan: string): boolean {
  return (parseSpan(scan, SCAN_UNITS) ?? 0) >= (parseSpan(MIN_SCAN, SCAN_UNITS) ?? 0);
}

/** In ms; null = never. */
export function scanMsOf({ scan }: Pick<StoreConfig, 'scan'>): number | null {
  return parseSpan(scan, SCAN_UNITS);
}

/** In ms. */
export function lookMsOf({ look }: Pick<StoreConfig, 'look'>): number {
  return parseSpan(look, LOOK_UNITS) ?? 0;
}

function isEndpoint(endpoint: string): boolean {
  if (!URL.canParse(endpoint)) return false;
  const { protocol, username, password, search, hash } = new URL(endpoint);
  return ['http:', 'https:'].includes(protocol) && [username, password, search, hash].every((part) => part === '');
}
