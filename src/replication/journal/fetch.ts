/** One segment out of the bucket, as far as its bytes go: bounded, decrypted, and of its own place. */

import { setImmediate } from 'node:timers/promises';
import { EspdError } from '../../errors.ts';
import { decryptWhole, encryptedSize } from '../encryption.ts';
import { ENCRYPTED } from '../layout.ts';
import type { Bucket } from '../push-backup.ts';
import { getSmall } from '../small-object.ts';
import { segmentName } from './names.ts';
import { MAX_READ_BYTES, type SegmentContext, type SegmentReading, segmentSteps } from './segment.ts';

/** Lines between two turns of the event loop. */
const LINES_AT_ONCE = 8;

export interface Fetched {
  readonly reading: SegmentReading;
  /** When it was written, by this station's clock. */
  readonly heardMs: number;
}

/**
 * Undefined where there is none.
 * @throws EspdError `store-damaged` where it is larger than any that espd writes, or was changed; `store-key`
 */
export async function fetchSegment(
  { store, layout, keys }: Bucket,
  { name, seq, isEncrypted }: { readonly name: string; readonly seq: number; readonly isEncrypted: boolean },
  now: Date,
  signal: AbortSignal,
): Promise<Fetched | undefined> {
  const bound = segmentName(name, seq);
  const key = `${layout.prefix}${bound}${isEncrypted ? ENCRYPTED : ''}`;
  const mostBytes = encryptedSize(MAX_READ_BYTES);
  const object = await getSmall(store, key, mostBytes, signal);
  if (object === undefined) return undefined;
  if (object.sizeBytes > mostBytes) {
    throw new EspdError('store-damaged', `${key} in the object store is larger than a segment of a journal can be`, {
      hint: 'It is not used: no espd has written it',
    });
  }
  const bytes = isEncrypted ? decryptWhole(keys, bound, object.bytes) : object.bytes;
  const heardMs = now.getTime() - (object.ageMs ?? 0);
  return {
    reading: await readInTurns(bytes, { station: name, seq, writtenMs: object.writtenMs ?? now.getTime() }),
    heardMs,
  };
}

async function readInTurns(bytes: Uint8Array, context: SegmentContext): Promise<SegmentReading> {
  const steps = segmentSteps(bytes, context);
  for (let count = 1; ; count++) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (count % LINES_AT_ONCE === 0) await setImmediate();
  }
}
