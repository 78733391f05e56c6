/** The manifest: one zod schema that gives the type, the check and the published JSON Schema. */

import { z } from 'zod';
import { BLOCK_BYTES } from '../flash.ts';

/** The newest version that this espd reads; raised when an older reader could misunderstand a manifest (FORMAT.md). */
export const FORMAT_VERSION = 2;

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
const count = () => z.number().int().nonnegative();
const seconds = () => z.number().nonnegative();

/** Why a backup was made. */
export const REASONS = ['plug-in', 'by-hand', 'before-restore', 'imported'] as const;
export type Reason = (typeof REASONS)[number];

/** A key that the first manifests of this version do not have. */
const later = <S extends z.ZodType>(schema: S, missing: z.core.util.NoUndefined<z.output<S>>) =>
  schema.default(missing);

export const manifestSchema = z
  .object({
    /** 1 wherever that can say it: see {@link versionOf}. */
    formatVersion: z.union([z.literal(1), z.literal(FORMAT_VERSION)]),
    /** Which program wrote it: `espd 0.1.0`. */
    createdBy: z.string(),
    /** Name of the backup's folder; a folder that was copied or renamed gives itself away by it. */
    id: z.string().regex(/^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}Z$/),
    /** ISO 8601 UTC, as the clock of the host had it; the id is made from it, and later where that was taken. */
    createdAt: z.iso.datetime(),
    /** Null where the espd that wrote this did not say. */
    reason: later(z.enum(REASONS).nullable(), null),
    mac: z.string().regex(/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/),
    chip: z.object({
      family: z.string(),
      name: z.string(),
      revision: z.string().nullable(),
      features: z.array(z.string()),
      crystalMHz: z.number().nullable(),
    }),
    flash: z.object({
      /** JEDEC ids; null where no chip was asked. */
      manufacturer: hex(2).nullable(),
      device: hex(4).nullable(),
      sizeBytes: z.number().int().positive(),
      /** Set when the flash seems to repeat itself: it answers for more bytes than it has. */
      aliasedAtBytes: z.number().int().positive().nullable(),
      /** How its size is known: by its id; or a person has told it, since the id says nothing. */
      sizeFrom: later(z.enum(['id', 'person']), 'id'),
    }),
    /** Null where no chip was asked. */
    security: z
      .object({ flashEncryption: z.boolean(), secureBoot: z.boolean(), secureDownload: z.boolean() })
      .nullable(),
    /** Readable eFuse words, lower-case hex of 8 digits, by block name. */
    efuses: z.record(z.string(), z.array(hex(8))),
    image: z.object({
      file: z.enum(['flash.bin', 'flash.bin.gz', 'flash.bin.zst']),
      /** Of the flash, uncompressed. */
      sizeBytes: z.number().int().positive(),
      sha256: hex(64),
      md5: hex(32),
    }),
    /**
     * Digests of each 64 KiB block of the image in order; the last block may be shorter. MD5 is what a chip can compute
     * of its own flash: by it blocks are known without being read.
     */
    blocks: z.object({ sizeBytes: z.literal(BLOCK_BYTES), sha256: z.array(hex(64)), md5: z.array(hex(32)) }),
    /** What the image holds, as the espd that wrote this could tell; a reader may look for itself. */
    contents: z.object({
      firmware: z.object({ name: z.string(), version: z.string().nullable(), sdk: z.string().nullable() }).nullable(),
      partitions: z.array(
        z.object({
          name: z.string(),
          type: z.string(),
          subtype: z.string(),
          offset: count(),
          sizeBytes: count(),
          encrypted: z.boolean(),
        }),
      ),
    }),
    /** How the chip itself confirmed the image before it was kept; null for an image that came from elsewhere. */
    confirmed: z.object({ by: z.enum(['stub', 'rom']), md5: hex(32), at: z.iso.datetime() }).nullable(),
    source: z.object({
      /** The port that the board was at; null where the image came out of a file. */
      port: z.string().nullable(),
      /** Name of the file that the image came from, without its folder; null where a board was read. */
      file: later(z.string().nullable(), null),
      usb: z
        .object({
          vendorId: z.string(),
          productId: z.string(),
          serialNumber: z.string().nullable(),
          location: z.string().nullable(),
        })
        .nullable(),
      host: z.string(),
    }),
    /** How the bytes came; null where no board was read. */
    transfer: z
      .object({
        loader: z.enum(['stub', 'rom']),
        /** Both directions, from the open to the close. */
        wireBytes: count(),
        flashBytesRead: count(),
        digestsAsked: count(),
        /** Bytes of flash that needed no reading, by what explained them. */
        explained: z.object({
          /** All 0xFF. */
          blank: count(),
          /** All 0x00. */
          zero: later(count(), 0),
          /** As in the newest backup of the board before this one. */
          sameAsBackup: count(),
          /** As in an older one. */
          olderBackup: later(count(), 0),
          /** As an interrupted read of the board has left it. */
          leftover: later(count(), 0),
          /** As in a backup of another board. */
          fleet: later(count(), 0),
        }),
        retries: count(),
        /** Of the retries, how often each way out of trouble was taken. */
        recovery: later(
          z.object({
            repeated: count(),
            smallerPackets: count(),
            lowerBaudRate: count(),
            reconnected: count(),
            romReads: count(),
          }),
          { repeated: 0, smallerPackets: 0, lowerBaudRate: 0, reconnected: 0, romReads: 0 },
        ),
        /** Seconds in each phase of the job. */
        phases: later(
          z.object({ connecting: seconds(), comparing: seconds(), reading: seconds(), verifying: seconds() }),
          { connecting: 0, comparing: 0, reading: 0, verifying: 0 },
        ),
        /** Bytes of flash by the way they were read, repetitions included. */
        ways: z
          .object({
            stub: count(),
            rom: count(),
            /** Through espd's own reader on the chip, as they are. */
            plain: count(),
            /** The same, compressed. */
            compressed: count(),
          })
          .optional(),
        /** What espd's own reader on the chip did; null where it was not used. */
        reader: z
          .object({
            /** Which build of it. */
            build: count(),
            plainBytes: count(),
            compressedBytes: count(),
            /** What the chip has sent for both. */
            sentBytes: count(),
            /** Tables of sector digests. */
            tables: count(),
            /** Why it was given up; null where it was not. */
            fault: z.string().nullable(),
          })
          .nullable()
          .optional(),
        baudRate: z.number().int().positive(),
        seconds: seconds(),
      })
      .nullable(),
  })
  .meta({ title: 'espd manifest', description: 'manifest.json of one backup; see FORMAT.md' });

export type Manifest = z.infer<typeof manifestSchema>;

/** What version 1 wants and a backup may lack. */
type Versioned = Pick<Manifest, 'confirmed' | 'flash' | 'security' | 'source' | 'transfer'>;

/**
 * The lowest version whose readers understand `manifest`. Those of version 1 would call an image damaged that no chip has
 * confirmed, or of whose chip not everything is known, and one that is stored with zstd.
 */
export function versionOf(manifest: Versioned, file: Manifest['image']['file']): 1 | 2 {
  return unknownTo1(manifest).length === 0 && file !== 'flash.bin.zst' ? 1 : 2;
}

/** What `manifest` says nothing of, by name, and version 1 wants. */
function unknownTo1({ confirmed, flash, security, source, transfer }: Versioned): string[] {
  const wanted = {
    confirmed,
    'flash.manufacturer': flash.manufacturer,
    'flash.device': flash.device,
    security,
    'source.port': source.port,
    transfer,
  };
  return Object.entries(wanted).flatMap(([name, value]) => (value === null ? [name] : []));
}

/** What the maker of a backup knows; the archive adds the rest (version, image, block digests). */
export type ManifestContent = Omit<Manifest, 'formatVersion' | 'createdBy' | 'id' | 'image' | 'blocks'>;

/** A longer manifest is not read. That of a flash of 128 MiB has about 160 KiB. */
export const MAX_MANIFEST_BYTES = 1024 * 1024;

/** What came of reading a manifest: itself, or why not. */
export type ManifestReading =
  | { readonly kind: 'read'; readonly manifest: Manifest }
  | { readonly kind: 'newer'; readonly formatVersion: number; readonly createdBy: string }
  | { readonly kind: 'damaged'; readonly problem: string };

/** Made once: zod compiles an object's schema at its first use, which takes longer than a whole manifest. */
const headSchema = z.object({ formatVersion: z.number().int(), createdBy: z.string().catch('') });

/** The text of a manifest.json, from anywhere: never throws, never trusts. Unknown keys are ignored (FORMAT.md). */
export function parseManifest(text: string): ManifestReading {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { kind: 'damaged', problem: 'is no JSON' };
  }
  return readManifest(json);
}

/** The same of JSON that was parsed before. */
export function readManifest(json: unknown): ManifestReading {
  const head = headSchema.safeParse(json);
  if (head.success && head.data.formatVersion > FORMAT_VERSION) return { kind: 'newer', ...head.data };
  const digests = soundDigests(json);
  const result = manifestSchema.safeParse(digests === undefined ? json : { ...(json as object), blocks: EMPTY_BLOCKS });
  if (result.success) return { kind: 'read', manifest: { ...result.data, blocks: digests ?? result.data.blocks } };
  const issue = result.error.issues[0];
  const where = issue === undefined || issue.path.length === 0 ? 'the document' : issue.path.map(String).join('.');
  return { kind: 'damaged', problem: `is no manifest: ${where}: ${issue?.message ?? 'wrong'}` };
}

const EMPTY_BLOCKS: Manifest['blocks'] = { sizeBytes: BLOCK_BYTES, sha256: [], md5: [] };
const SHA256_HEX = /^[0-9a-f]{64}$/;
const MD5_HEX = /^[0-9a-f]{32}$/;

/**
 * The digests of the blocks where the schema would take them just so: it takes ten times as long for these hundreds of
 * texts as for all the rest. Undefined where it has to say what is wrong with them.
 */
function soundDigests(json: unknown): Manifest['blocks'] | undefined {
  const blocks = (json as { blocks?: unknown } | null)?.blocks as Partial<Manifest['blocks']> | null | undefined;
  const { sizeBytes, sha256, md5 } = blocks ?? {};
  const isSound = (list: unknown, pattern: RegExp): list is string[] =>
    Array.isArray(list) && list.every((text) => typeof text === 'string' && pattern.test(text));
  if (sizeBytes !== BLOCK_BYTES || !isSound(sha256, SHA256_HEX) || !isSound(md5, MD5_HEX)) return undefined;
  return { sizeBytes, sha256, md5 };
}

/** The manifest as it is stored. */
export function formatManifest(manifest: Manifest): string {
  return JSON.stringify(manifest, null, 2) + '\n';
}

/** In what a manifest contradicts itself; each one a sentence fragment after the file's name. */
export function contradictions(manifest: Manifest): string[] {
  const { image, blocks, confirmed } = manifest;
  const found: string[] = [];
  const expectedBlocks = Math.ceil(image.sizeBytes / blocks.sizeBytes);
  for (const digests of [blocks.sha256, blocks.md5]) {
    if (digests.length !== expectedBlocks) {
      found.push(`lists ${digests.length} block digests where ${expectedBlocks} belong`);
    }
  }
  const { formatVersion } = manifest;
  const missing = formatVersion === 1 ? unknownTo1(manifest)[0] : undefined;
  if (missing !== undefined) found.push(`says nothing of ${missing}, which version 1 wants`);
  if (formatVersion === 1 && image.file === 'flash.bin.zst')
    found.push(`names ${image.file}, which version 1 does not know`);
  if (confirmed !== null && confirmed.md5 !== image.md5)
    found.push('says that the chip confirmed another image than the one stored');
  return found;
}
