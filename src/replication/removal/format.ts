/** The objects by which stations agree on what is removed from a bucket: FORMAT.md, Removing from a bucket. Pure. */

import { z } from 'zod';

export const LEASES = 'leases/';
export const PRUNE_LEASE = `${LEASES}prune.json`;
/** Beside the lease, because every espd passes over what is there. */
export const BUCKET_POLICY = `${LEASES}policy.json`;
export const REMOVALS = 'removals/';
/** Longer ones are none of ours. */
export const MAX_NOTE_BYTES = 64 * 1024;

const text = (maxLength: number) => z.string().max(maxLength);

const leaseSchema = z.object({
  formatVersion: z.literal(1),
  station: text(128),
  /** Of one process: two of one station are two. */
  holder: text(64),
  /** Grows by one whenever another holder takes it. */
  token: z.int().min(1),
  /** Counted from the moment in which the store has written this; 0 = it was given back. */
  seconds: z.int().min(0).max(86_400),
  /** Makes each renewal another object. */
  renewal: z.int().min(0),
});

export type Lease = z.output<typeof leaseSchema>;

const removalSchema = z.object({
  formatVersion: z.literal(1),
  /** Key of the backup's folder behind the prefix, with a slash at its end. */
  folder: text(512),
  /** SHA256SUMS of the backup as it is there: which content is meant, and how to bring the backup back. */
  checksums: text(8192),
  /** Why, in words; may hold texts of devices. */
  why: text(4096),
  station: text(128),
  createdBy: text(256),
  /** By the clock of the station; for persons, nothing goes by it. */
  at: text(64),
  /** Not removed before the store has had this for so long, by the store's clock. */
  graceSeconds: z.int().min(0),
});

export type Removal = z.output<typeof removalSchema>;

const policySchema = z.object({
  formatVersion: z.literal(1),
  /** Digest of what is kept: policies that mean the same have the same one. Names of boards and groups are not told by it. */
  policy: z.string().regex(/^[0-9a-f]{64}$/),
  /** The rules in words; for persons. */
  says: text(1024),
  /** Where a person has said yes to it, with which program, and when by the clock there; for persons. */
  station: text(128),
  createdBy: text(256),
  at: text(64),
});

export type StoredPolicy = z.output<typeof policySchema>;

/** Undefined for what is none, of a newer format too. */
export const parseLease = (bytes: Uint8Array) => parsed(leaseSchema, bytes);
export const parseRemoval = (bytes: Uint8Array) => parsed(removalSchema, bytes);
export const parsePolicy = (bytes: Uint8Array) => parsed(policySchema, bytes);

export function formatObject(object: Lease | Removal | StoredPolicy): Buffer {
  return Buffer.from(`${JSON.stringify(object, null, 2)}\n`);
}

/** @param folder of the backup, behind the prefix, with a slash at its end */
export function removalKey(prefix: string, folder: string): string {
  return `${prefix}${REMOVALS}${folder.slice(0, -1)}.json`;
}

function parsed<T>(schema: z.ZodType<T>, bytes: Uint8Array): T | undefined {
  if (bytes.length > MAX_NOTE_BYTES) return undefined;
  try {
    return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
  } catch {
    return undefined;
  }
}
