/**
 * The one policy of a bucket: FORMAT.md, Removing from a bucket. A person has said yes to it there; a station whose config says
 * another one changes nothing, for it has the wrong bucket, or the stations do not agree.
 */

import { policyDigest, policyText } from '../../archive/retention/policy-identity.ts';
import type { RetentionPolicy } from '../../archive/retention/policy.ts';
import { EspdError } from '../../errors.ts';
import { printable } from '../../printable.ts';
import type { ObjectStore } from '../../store/types.ts';
import { getSmall } from '../small-object.ts';
import { BUCKET_POLICY, MAX_NOTE_BYTES, type StoredPolicy, formatObject, parsePolicy } from './format.ts';

/** What stands in the bucket, compared with the config. */
export type PolicyThere =
  | { readonly kind: 'none' }
  | { readonly kind: 'same' }
  | { readonly kind: 'other'; readonly stored: StoredPolicy; readonly etag: string }
  | { readonly kind: 'not-understood' };

export interface BucketPolicyParts {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly station: string;
  readonly hasConditions: boolean;
  readonly createdBy: string;
}

export class BucketPolicy {
  readonly #parts: BucketPolicyParts;
  readonly #policy: RetentionPolicy;
  readonly #key: string;

  /** @param policy of the config */
  constructor(parts: BucketPolicyParts, policy: RetentionPolicy) {
    this.#parts = parts;
    this.#policy = policy;
    this.#key = parts.prefix + BUCKET_POLICY;
  }

  async look(signal: AbortSignal): Promise<PolicyThere> {
    const there = await getSmall(this.#parts.store, this.#key, MAX_NOTE_BYTES, signal);
    if (there === undefined) return { kind: 'none' };
    const stored = parsePolicy(there.bytes);
    if (stored === undefined) return { kind: 'not-understood' };
    if (stored.policy === policyDigest(this.#policy)) return { kind: 'same' };
    return { kind: 'other', stored, etag: there.etag };
  }

  /**
   * @param replaces what a person has seen there, and wants that of the config in its place; null: it must be the same
   * @throws EspdError `store-policy`
   */
  async check(replaces: PolicyThere | null, signal: AbortSignal): Promise<PolicyThere> {
    const there = await this.look(signal);
    const wasSeen =
      there.kind === 'other' ? replaces?.kind === 'other' && replaces.etag === there.etag : replaces?.kind === 'none';
    const refusal = this.refusal(there);
    if (refusal !== null && (there.kind === 'not-understood' || !wasSeen)) throw refusal;
    return there;
  }

  /** From now on that of the config stands there. Parameter and errors as of {@link check}. */
  async settle(replaces: PolicyThere | null, signal: AbortSignal): Promise<void> {
    const { store, station, hasConditions, createdBy } = this.#parts;
    const there = await this.check(replaces, signal);
    if (there.kind === 'same') return;
    const stored: StoredPolicy = {
      ...{ formatVersion: 1, policy: policyDigest(this.#policy), says: policyText(this.#policy).slice(0, 1024) },
      ...{ station, createdBy, at: new Date(store.now()).toISOString() },
    };
    const condition = there.kind === 'other' ? { ifMatch: there.etag } : 'if-absent';
    const put = await store.put(this.#key, formatObject(stored), {
      condition: hasConditions ? condition : undefined,
      signal,
    });
    // Somebody was there first, or this very request has come twice.
    if (put === undefined) await this.check(null, signal);
  }

  /** Null where it is the same. */
  refusal(there: PolicyThere): EspdError | null {
    const { place } = this.#parts.store;
    const ours = policyText(this.#policy);
    switch (there.kind) {
      case 'same':
        return null;
      case 'none':
        return refused(
          `Nobody has said by which policy the object store (${place}) is pruned; this config says ${ours}`,
          {
            hint: 'Nothing was announced or removed. If it is the right bucket, a person says yes to it once: espd prune --store',
          },
        );
      case 'other': {
        const { says, station, at } = there.stored;
        const theirs = printable(says);
        const difference = theirs === printable(ours) ? '; the rules for single boards or groups differ' : '';
        return refused(
          `The object store (${place}) is pruned by another policy: ${theirs} (set at ${printable(station)}, ${printable(at)}). This config says ${ours}${difference}`,
          {
            hint: 'Nothing was announced or removed. If it is the wrong bucket, correct store in the config. Else give all stations one store.retention; if this one is right: espd prune --store --set-policy',
          },
        );
      }
      case 'not-understood':
        return refused(`${this.#key} in the object store (${place}) is not understood, so its policy is not known`, {
          hint: 'A newer espd may have written it: then use that one here. If it is damaged, remove that object, and espd prune --store asks for the policy anew',
        });
    }
  }
}

function refused(message: string, { hint }: { readonly hint: string }): EspdError {
  return new EspdError('store-policy', message, { hint });
}
