/**
 * What the API answers about the inside of backups, and what becomes of them: `contents`, `diff`, `prune` in JSON. The
 * rules of answers.ts hold here, too. Texts out of images may hold anything.
 */

import { z } from 'zod';

const mac = z.string().regex(/^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/);
const bytes = z.int().min(0);
const count = z.int().min(0);
const place = bytes.describe('Offset in the flash, in bytes.');
const problems = z.array(z.string()).describe('For people.');
const region = z.looseObject({ offset: place, sizeBytes: bytes });

/** The same of both images. */
const pair = <T extends z.ZodType>(of: T) => z.looseObject({ before: of, after: of });

export const firmwareAnswer = z.looseObject({
  name: z.string(),
  version: z.string().nullable(),
  sdk: z.string().nullable().optional(),
});

export const partitionAnswer = z.looseObject({
  name: z.string(),
  type: z.string().describe("ESP-IDF's names (app, data), or a number (0x40)."),
  subtype: z.string(),
  offset: place,
  sizeBytes: bytes.describe('As the table says; it may reach beyond the flash.'),
  encrypted: z.boolean().describe("The partition's flag."),
});

const partKind = z.enum(['partition', 'bootloader', 'partition-table', 'gap']);
const flashPart = region.extend({
  name: z.string(),
  kind: partKind,
  type: z.string().describe('Empty where it is no partition.'),
  subtype: z.string(),
});

const nvsValue = z.looseObject({
  type: z.string(),
  sizeBytes: bytes.nullable().describe('Null for a secret.'),
  secret: z.boolean().describe('By the name of its key.'),
  value: z.string().nullable().describe('Only with reveal=true, and never of a secret.'),
});

const opaque = z.enum(['encryption']).nullable().describe('Why only sectors are told: what was read is ciphertext.');
const fileSystem = z.enum(['spiffs', 'littlefs', 'fat']);
const more = count.describe('How many are left out of a long list.');

export const contentsAnswer = z.looseObject({
  mac,
  id: z.string(),
  sizeBytes: bytes,
  before: z.looseObject({ id: z.string() }).nullable().describe('The backup that the map compares with.'),
  map: z.looseObject({ blockBytes: bytes, cells: z.array(z.enum(['blank', 'data', 'changed', 'erased'])) }),
  firmware: firmwareAnswer.nullable(),
  boots: z.string().nullable().describe('Name of the partition whose app boots.'),
  tableOffset: place.nullable(),
  opaque,
  partitions: z.array(partitionAnswer),
  parts: z.array(flashPart).describe('The flash from its first to its last byte, each byte once.'),
  nvs: z.array(
    z.looseObject({
      partition: z.string(),
      offset: place,
      state: z.enum(['plain', 'blank', 'encrypted', 'unknown']).nullable(),
      namespaces: z.array(z.looseObject({ name: z.string(), keys: z.array(nvsValue.extend({ key: z.string() })) })),
      more,
      problems,
    }),
  ),
  files: z.array(
    z.looseObject({
      partition: z.string(),
      offset: place,
      kind: fileSystem.nullable(),
      entries: z.array(z.looseObject({ path: z.string(), isFolder: z.boolean(), sizeBytes: bytes })),
      more,
      problems,
    }),
  ),
  problems,
});

const side = z.looseObject({
  kind: z.literal('backup'),
  mac,
  id: z.string(),
  createdAt: z.iso.datetime(),
  sizeBytes: bytes,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  chip: z.string(),
});

const nvsChanges = z.array(z.looseObject({ namespace: z.string(), key: z.string(), value: pair(nvsValue.nullable()) }));
const fileChanges = z.array(
  z.looseObject({ path: z.string(), isFolder: z.boolean(), sizeBytes: pair(bytes.nullable()) }),
);

const partContent = z.discriminatedUnion('kind', [
  z.looseObject({
    kind: z.literal('app'),
    apps: pair(firmwareAnswer.extend({ built: z.string().nullable() }).nullable()),
  }),
  z.looseObject({
    kind: z.literal('bootloader'),
    descriptions: pair(
      z.looseObject({ version: z.int(), idfVersion: z.string().nullable(), built: z.string().nullable() }).nullable(),
    ),
  }),
  z.looseObject({
    kind: z.literal('ota'),
    slot: pair(z.string().nullable()),
    updates: pair(z.int().min(0).nullable()),
  }),
  z.looseObject({ kind: z.literal('nvs'), added: nvsChanges, changed: nvsChanges, removed: nvsChanges }),
  z.looseObject({
    kind: z.literal('files'),
    fileSystem: pair(fileSystem.nullable()),
    ...{ added: fileChanges, changed: fileChanges, removed: fileChanges, unknown: fileChanges },
  }),
]);

const partChange = z.looseObject({
  name: z.string(),
  kind: partKind,
  type: z.string(),
  subtype: z.string(),
  place: pair(region.nullable()),
  change: z.enum(['changed', 'moved', 'came', 'went']),
  sectors: count,
  from: place.nullable(),
  to: place.nullable(),
  blank: pair(z.boolean().nullable()),
  content: partContent.nullable(),
  problems,
});

export const diffAnswer = z.looseObject({
  by: z.literal('content'),
  before: side,
  after: side,
  equal: z.boolean(),
  sizeBytes: pair(bytes),
  sectors: z.looseObject({ compared: count, differing: count }).describe('Of 4 KiB.'),
  regions: z.array(region),
  opaque,
  contents: z
    .looseObject({
      firmware: pair(firmwareAnswer.nullable()),
      boots: pair(z.string().nullable()),
      bootloader: z.enum(['same', 'changed', 'none']),
      table: z
        .looseObject({
          offset: pair(place.nullable()),
          same: z.boolean(),
          came: z.array(partitionAnswer),
          went: z.array(partitionAnswer),
          altered: z.array(pair(partitionAnswer)),
        })
        .nullable(),
      parts: z.array(partChange),
      problems: pair(problems),
    })
    .nullable()
    .describe('Null where nothing differs, or where it is opaque.'),
});

const reasons = z.array(z.looseObject({ code: z.string().describe('Stable.'), text: z.string() })).min(1);
const named = z.looseObject({ mac, id: z.string() });
const removed = z.array(named);
const spared = z.array(named.extend({ reasons })).describe('What stays after all.');

export const retentionAnswer = z.union([
  z.looseObject({
    dryRun: z.literal(true),
    backups: z.array(named.extend({ stays: z.boolean(), reasons, sizeOnDiskBytes: bytes })),
    totalBytes: bytes,
    freedBytes: bytes.describe('What would be freed.'),
    overBudgetBytes: bytes.describe('By how much what stays exceeds maxBytes.'),
    blocked: z.array(reasons.element).describe('Why nothing at all may be removed now.'),
    unmatched: z.array(z.string()).describe('Boards and groups of the policy that the archive does not know.'),
    ...{ removed: removed.max(0), spared: spared.max(0) },
  }),
  z.looseObject({
    policy: z.null().describe('None is set: nothing goes.'),
    dryRun: z.literal(false),
    ...{ backups: removed.max(0), removed: removed.max(0), spared: spared.max(0) },
  }),
]);
