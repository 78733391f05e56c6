/**
 * What the API answers, as zod schemas; OpenAPI is made of them, and the tests hold each answer against them. Only what is
 * stable stands here: more fields may stand beside these, in every object.
 */

import { z } from 'zod';
import { firmwareAnswer, partitionAnswer } from './content-answers.ts';

const at = z.iso.datetime().describe('ISO 8601, UTC.');
const mac = z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
const bytes = z.int().min(0);
const seconds = z.number().min(0);
const backupId = z.string().describe('Backup id.');
const job = z.int().min(1).describe('Number of a job, of this instance of the service.');
const kind = z.enum(['backup', 'identify', 'verify', 'restore', 'prune', 'pull', 'command']).or(z.string());

export const errorAnswer = z.looseObject({
  code: z.string().describe('A code of espd, stable.'),
  message: z.string().describe('One sentence.'),
  hint: z.string().describe('What can be done about it; empty where nothing useful can be said.'),
});

const outcome = z.looseObject({
  id: backupId,
  unchanged: z.boolean(),
  seconds,
  wireBytes: bytes,
  flashBytesRead: bytes,
});

const usb = z.looseObject({
  vendorId: z.string(),
  productId: z.string(),
  serialNumber: z.string().nullable(),
  manufacturer: z.string().nullable(),
  product: z.string().nullable(),
  location: z.string().nullable(),
});

const portView = z.looseObject({
  port: z.string(),
  name: z.string().nullable().describe('Of a remote: as the config has it.'),
  usb: usb.nullable(),
  state: z.enum(['idle', 'left-alone', 'waiting', 'working', 'done', 'failed', 'held']),
  since: at,
  mac: mac.nullable(),
  chip: z.string().nullable(),
  job: job.nullable(),
  phase: z.string().nullable(),
  doneBytes: bytes.nullable(),
  totalBytes: bytes.nullable(),
  heldBy: z.string().nullable(),
  heldUntil: at.nullable(),
  reason: z.string().nullable().describe('Why it is left alone.'),
  error: errorAnswer.nullable(),
  retryAt: at.nullable(),
  result: outcome.nullable(),
});

const jobView = z.looseObject({
  job,
  kind,
  cause: z.enum(['plug-in', 'retry', 'request']).or(z.string()),
  state: z.enum(['waiting', 'running', 'done', 'failed', 'dropped']),
  port: z.string().nullable(),
  mac: mac.nullable(),
  phase: z.string().nullable().describe('confirmation: it waits for a yes.'),
  doneBytes: bytes.nullable(),
  totalBytes: bytes.nullable(),
  queuedAt: at,
  startedAt: at.nullable(),
  endedAt: at.nullable(),
  result: outcome.nullable(),
  error: errorAnswer.nullable(),
  failure: z.enum(['stopped', 'silent', 'passing', 'fault']).nullable(),
});

export const portsAnswer = z.looseObject({ ports: z.array(portView) });
export const jobsAnswer = z.looseObject({ jobs: z.array(jobView) });

export const jobAnswer = jobView.extend({
  plan: z.unknown().optional().describe('Of a restore: what is going to be written.'),
  question: z.string().nullish().describe('What waits for a confirmation.'),
  agreed: z.string().nullish().describe('What was confirmed.'),
  document: z.unknown().optional().describe('What the command says with --json, once it has ended.'),
  boards: z
    .array(
      z.looseObject({
        verdict: z.enum(['pass', 'fail', 'skip']),
        port: z.string(),
        mac: mac.nullable(),
        error: errorAnswer.optional(),
        sectorsWritten: z.int().min(0).optional(),
        verified: z.boolean().optional().describe('By the digest of the chip.'),
        snapshot: backupId.nullable().optional(),
        boundToMac: z.array(z.record(z.string(), z.unknown())).optional(),
        kept: z.array(z.record(z.string(), z.unknown())).optional(),
        transfer: z.record(z.string(), z.number()).optional(),
        failedSectors: z.array(z.looseObject({ offset: bytes, part: z.string() })).optional(),
        finish: z.string().optional().describe('The command that finishes it.'),
      }),
    )
    .optional()
    .describe('Of a restore to many boards: what became of each, the newest last. As its command says it.'),
  counts: z.looseObject({ passed: z.int().min(0), failed: z.int().min(0), skipped: z.int().min(0) }).optional(),
});

export const statusAnswer = z.looseObject({
  version: z.string(),
  instance: z.string(),
  lastSeq: z.int().min(0).describe('Number of the last event that is in this state.'),
  now: at,
  archive: z.string(),
  startedAt: at.nullable(),
  isStopping: z.boolean(),
  ...portsAnswer.shape,
  ...jobsAnswer.shape,
  attention: z.array(
    z.looseObject({
      at,
      about: z.enum(['port', 'line', 'board', 'archive', 'store', 'disk', 'config']).or(z.string()),
      port: z.string().nullable(),
      mac: mac.nullable(),
      error: errorAnswer,
    }),
  ),
  counters: z.looseObject({
    backups: z.int().min(0),
    unchanged: z.int().min(0),
    failures: z.int().min(0),
  }),
  fleet: z
    .looseObject({
      waiting: z.int().min(0).describe('Backups that are not in the store yet.'),
      lookedAt: at.nullable().describe('When the journals of the other stations were last read.'),
      stations: z.array(
        z.looseObject({
          name: z.string(),
          heardAt: at.nullable().describe('When it last said something.'),
          silentDays: z.int().nullable().describe('Since then, where it is overdue.'),
        }),
      ),
      troubles: z.array(
        z.looseObject({
          station: z.string(),
          code: z.string(),
          message: z.string(),
          segments: z.int().min(0),
          since: at.nullable(),
        }),
      ),
    })
    .nullable()
    .describe('The other stations of the object store; null where there is none.'),
});

export const holdAnswer = z.looseObject({ port: z.string(), by: z.string(), until: at.nullable() });

/** One line of a lease. */
export const leaseAnswer = z.looseObject({
  type: z.enum(['held', 'alive', 'released']),
  port: z.string().optional(),
  by: z.string().optional(),
});

const chipChange = z
  .looseObject({ kind: z.enum(['chip', 'flash']), details: z.array(z.string()), since: backupId })
  .nullable()
  .describe('Since which backup the board has another chip, or another flash chip.');

const halfRestored = z.looseObject({
  from: z.looseObject({ mac, id: backupId }).nullable().describe('Null where its record cannot be read.'),
  startedAt: at.nullable(),
  why: z.string().nullable(),
  parts: z
    .array(z.looseObject({ name: z.string().nullable(), offset: bytes, sizeBytes: bytes }))
    .nullable()
    .describe('What is written; null: the whole flash.'),
  snapshot: backupId.nullable(),
  station: z.string().optional().describe('Where it has begun, unless that is this one.'),
  finish: z.string().optional().describe('The command that finishes it.'),
  problem: z.string().nullable().optional(),
});

const board = z.looseObject({
  mac,
  label: z.string().nullable(),
  note: z.string().nullable(),
  group: z.string().nullable(),
  chip: z.string().nullable(),
  sizeBytes: bytes.nullable(),
  backups: z.int().min(0).describe('How many there are.'),
  first: z.string().nullable(),
  latest: z.string().nullable(),
  lastSeen: at.nullable(),
  lastSeenBy: z.string().nullable().describe('The station that has seen it last; null: this one.'),
  places: z
    .looseObject({ here: z.int().min(0), store: z.int().min(0), both: z.int().min(0) })
    .nullable()
    .describe('How many backups lie here, in the object store, and in both; null: none is known to be in a store.'),
  firmware: z.string().nullable(),
  chipChange,
  halfRestored: halfRestored.nullable(),
});

const damage = z.looseObject({
  mac: mac.nullable(),
  id: backupId.nullable(),
  file: z.string(),
  problem: z.string(),
});

export const boardsAnswer = z.looseObject({
  boards: z.array(board.extend({ isDamaged: z.boolean() })),
  total: z.int().min(0),
  problems: z.array(damage),
  foreign: z.array(damage).describe('What espd did not put there.'),
});

/** Where in the object store. */
const storedAt = {
  station: z.string().describe('Who has put it there.'),
  store: z.string(),
  folder: z.string(),
};

const backup = z.looseObject({
  id: z.string(),
  path: z.string(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  sizeBytes: bytes,
  createdAt: at,
  pinned: z.looseObject({ at, note: z.string().nullable() }).nullable(),
  createdBy: z.string(),
  reason: z.string().nullable(),
  confirmed: z
    .looseObject({ at, by: z.enum(['stub', 'rom']), md5: z.string() })
    .nullable()
    .describe('By the digest of a chip; null: by none.'),
  chipChange,
  chip: z.looseObject({
    family: z.string(),
    name: z.string(),
    revision: z.string().nullable(),
    features: z.array(z.string()),
    crystalMHz: z.number().nullable(),
  }),
  flash: z.looseObject({
    manufacturer: z.string().nullable(),
    device: z.string().nullable(),
    sizeBytes: bytes,
    aliasedAtBytes: bytes.nullable(),
    sizeFrom: z.enum(['id', 'person']),
  }),
  security: z
    .looseObject({ flashEncryption: z.boolean(), secureBoot: z.boolean(), secureDownload: z.boolean() })
    .nullable(),
  source: z.looseObject({
    port: z.string().nullable(),
    file: z.string().nullable(),
    usb: usb.pick({ vendorId: true, productId: true, serialNumber: true, location: true }).nullable(),
    host: z.string(),
  }),
  transfer: z
    .looseObject({
      loader: z.enum(['stub', 'rom']),
      wireBytes: bytes,
      flashBytesRead: bytes,
      digestsAsked: z.int().min(0),
      explained: z.record(z.string(), bytes).describe('Bytes that needed no reading, by what explained them.'),
      retries: z.int().min(0),
      recovery: z.record(z.string(), z.int().min(0)).describe('How often each way out of trouble was taken.'),
      phases: z.record(z.string(), seconds),
      ways: z.record(z.string(), bytes).optional().describe('Bytes by the way they were read.'),
      reader: z
        .record(z.string(), z.unknown())
        .nullable()
        .optional()
        .describe("What espd's own reader on the chip did: FORMAT.md."),
      baudRate: z.int(),
      seconds,
    })
    .nullable()
    .describe('Null where no board was read.'),
  firmware: firmwareAnswer.nullable(),
  partitions: z.array(partitionAnswer),
  stored: z
    .looseObject(storedAt)
    .nullable()
    .describe('Where it lies in the object store; null: nowhere, as far as is known.'),
  seenUnchanged: z.array(at),
});

const elsewhere = z.looseObject({
  id: backupId,
  ...storedAt,
  sha256: z.string(),
  sizeBytes: bytes,
  createdAt: at,
  reason: z.string().nullable(),
  pinned: z.looseObject({ at, note: z.string().nullable() }).nullable(),
  chip: backup.shape.chip,
  flash: backup.shape.flash,
  firmware: firmwareAnswer.nullable(),
  isTaken: z.boolean().describe('Another backup is here under this id.'),
  name: z.string().describe('What it is called behind BOARD@: its id, or ID@STATION where the id means another one.'),
});

export const boardAnswer = z.looseObject({
  board,
  backups: z.array(backup),
  elsewhere: z.array(elsewhere).describe('Backups that lie in the object store, and not here.'),
  removed: z.array(
    z.looseObject({ at, id: backupId, sha256: z.string().nullable(), why: z.string(), createdBy: z.string() }),
  ),
  restores: z.array(
    z.looseObject({
      at,
      from: z.looseObject({ mac, id: backupId }),
      snapshot: backupId.nullable(),
      snapshotIsNew: z.boolean(),
      partial: z.boolean(),
      station: z.string().optional().describe('Where, unless that was this station.'),
    }),
  ),
  problems: z.array(damage),
  foreign: z.array(damage).describe('What espd did not put there.'),
});

export const sizesAnswer = z.looseObject({
  mac,
  imageBytes: bytes.nullable().describe('What all its images would take, uncompressed. Null: one cannot be told.'),
  diskBytes: bytes.nullable().describe('All in the folder of the board. Null: a part cannot be looked at.'),
  otherBytes: bytes.nullable().describe('Of it what unfinished backups take.'),
  sharedBytes: bytes.nullable().describe('How much less is in use, since images share blocks; null: not told.'),
  backups: z.array(z.looseObject({ id: z.string(), diskBytes: bytes })),
});

export const backupAnswer = z.looseObject({ board, backup });

export const labelAnswer = z.looseObject({
  mac,
  label: z.string().nullable(),
  note: z.string().nullable(),
  group: z.string().nullable(),
});

export const pinAnswer = z.looseObject({ mac, id: z.string(), pinned: z.boolean(), note: z.string().nullable() });

export const schedulesAnswer = z.looseObject({
  timezone: z.string().nullable(),
  schedules: z.array(z.looseObject({ name: z.string(), cron: z.string().nullable(), nextRun: at.nullable() })),
});

/** One line of the stream; fields of each type: docs/api.md. */
export const eventAnswer = z.union([
  z.looseObject({ seq: z.int().min(1), at, type: z.string() }),
  z.looseObject({ type: z.enum(['hello', 'gap', 'alive']).describe('Of the stream itself.') }),
]);

export const doctorAnswer = z.looseObject({
  checks: z.array(
    z.looseObject({
      id: z.string(),
      status: z.enum(['ok', 'note', 'problem']),
      title: z.string(),
      detail: z.string().optional(),
      fix: z.looseObject({ command: z.string() }).optional(),
    }),
  ),
  ok: z.boolean(),
});

export const reloadAnswer = z.looseObject({ reloaded: z.literal(true) });

export const openApiAnswer = z.looseObject({
  openapi: z.literal('3.1.0'),
  info: z.looseObject({ title: z.string(), version: z.string(), description: z.string() }),
  paths: z.record(z.string(), z.record(z.string(), z.unknown())),
  components: z.record(z.string(), z.unknown()),
});

/** RFC 9457, of whatever goes wrong. */
export const problemAnswer = z.looseObject({
  type: z.string().optional(),
  title: z.string().describe('What the code means.'),
  status: z.int(),
  detail: z.string().describe('What happened, one sentence.'),
  code: z.string().describe('A code of espd, stable.'),
  hint: z.string().describe('What can be done about it.'),
});
