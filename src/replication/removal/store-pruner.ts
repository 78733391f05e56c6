/**
 * Retention of a bucket that many stations share: FORMAT.md, Removing from a bucket. Everything is judged by what all
 * stations have told, and again just before a removal; what is to go is announced, and has its time of grace.
 */

import type { Archive } from '../../archive/types.ts';
import { planRetention } from '../../archive/retention/plan.ts';
import type { RetentionPolicy } from '../../archive/retention/policy.ts';
import type { Decision, Reason, RetentionPlan } from '../../archive/retention/types.ts';
import type { Clock } from '../../clock.ts';
import { EspdError, hasCode } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { ObjectStore } from '../../store/types.ts';
import type { MayHavePinned } from '../journal/gone.ts';
import { CHECKSUMS } from '../local-backup.ts';
import { MAX_CHECKSUMS_BYTES, getSmall } from '../small-object.ts';
import { BucketPolicy, type PolicyThere } from './bucket-policy.ts';
import { MAX_NOTE_BYTES, REMOVALS, type Removal, formatObject, parseRemoval, removalKey } from './format.ts';
import { inGroups } from './in-groups.ts';
import { type Inventory, type NotedRemoval, takeInventory } from './inventory.ts';
import { KeptOnes } from './kept-ones.ts';
import { PruneLease, ageless } from './lease.ts';
import { nameKey } from './named-copies.ts';
import { type Step, type StepKind, isForNow, leftOf, stepsOf } from './steps.ts';
import { filesOf, takeAway } from './take-away.ts';
import { type ReadManifest, type Told, type Union, unionOf, withMarks } from './union.ts';

/** Removals that are judged together: by journals read for them. */
const BATCH = 64;
/** Requests of removals are sent no longer than this after the judgement; the store itself takes them for 15 minutes. */
const ROUND_MS = 5 * 60_000;
/** To give the lease back must not hold up an end. */
const RELEASE_LIMIT_MS = 10_000;

/** What the stations tell each other. */
export interface FleetJournal {
  /**
   * What all have told until now is known here when it resolves. @returns what could not be read: sentence fragments; and
   * which stations are gone for ever that may have told of pins in what could not be read
   */
  read(signal: AbortSignal): Promise<{ readonly problems: readonly string[]; readonly gone: readonly MayHavePinned[] }>;
  /** It is noted here, and the others will hear of it, also if this process ends now. */
  addRemoved(gone: Gone, signal: AbortSignal): Promise<void>;
}

export interface Gone {
  readonly mac: Mac;
  readonly id: string;
  /** Behind the prefix, with a slash at its end. */
  readonly folder: string;
}

export interface StorePrunerParts {
  readonly store: ObjectStore;
  /** Of all keys: empty, or with a slash at its end. */
  readonly prefix: string;
  readonly station: string;
  /** Random; of this process alone. */
  readonly holder: string;
  /** Whether the store honours conditional writes: else there is no lease, and the time of grace alone has to do. */
  readonly hasConditions: boolean;
  readonly leaseSeconds?: number;
  readonly graceMs: number;
  readonly archive: Pick<Archive, 'boards' | 'retention'>;
  readonly journal: FleetJournal;
  readonly readManifest: ReadManifest;
  readonly clock: Clock;
  readonly createdBy: string;
}

export interface StorePlan {
  readonly retention: RetentionPlan;
  readonly steps: readonly Step[];
  /** By which policy the bucket is pruned. */
  readonly policy: PolicyThere;
  /** Why this one may not; null where it is that of the bucket. */
  readonly refusal: EspdError | null;
}

export interface StorePlanOptions {
  readonly only?: ReadonlySet<Mac> | undefined;
  readonly signal: AbortSignal;
  /** Objects listed so far. */
  readonly onProgress?: (objects: number) => void;
}

/** What came of a step; `spared` tells why it was not done after all. */
export type Outcome = { readonly done: StepKind } | { readonly spared: readonly Reason[] };

interface Looked extends Pick<StorePlan, 'retention' | 'steps'> {
  readonly union: Union;
  readonly inventory: Inventory;
  readonly notes: ReadonlyMap<string, NotedRemoval & { readonly removal: Removal | undefined }>;
}

/** What the removals of one judgement go by. */
interface Round {
  /** By {@link nameKey}. */
  readonly verdicts: ReadonlyMap<string, Decision>;
  readonly board: KeptOnes;
  readonly asOf: number;
  readonly signal: AbortSignal;
}

interface Removing {
  readonly lease: PruneLease | null;
  readonly agreed: BucketPolicy;
  readonly signal: AbortSignal;
  readonly onStep: (step: Step, outcome: Outcome) => void;
}

export class StorePruner {
  readonly #parts: StorePrunerParts;

  constructor(parts: StorePrunerParts) {
    this.#parts = parts;
  }

  /** Changes nothing. @throws EspdError `store-...`; the signal's reason */
  async plan(policy: RetentionPolicy, options: StorePlanOptions): Promise<StorePlan> {
    const agreed = new BucketPolicy(this.#parts, policy);
    const there = await agreed.look(options.signal);
    const { retention, steps } = await this.#look(policy, options);
    return { retention, steps, policy: there, refusal: agreed.refusal(there) };
  }

  /**
   * Does what there is to do now; of removals and announcements only what `shown` has. If it ends in the middle, the next
   * run, of whichever station, goes on.
   * @throws EspdError before anything is done: `store-policy` where the bucket has another policy, `store-denied` where these
   *   credentials may not remove; `store-held` where another one prunes; other `store-...`; the signal's reason
   */
  async carryOut(
    policy: RetentionPolicy,
    options: StorePlanOptions & {
      /** Null: all. */
      readonly shown: Pick<StorePlan, 'steps'> | null;
      /** What of the bucket's policy a person has seen and gives up for this one; null: this one must be the bucket's. */
      readonly replaces: PolicyThere | null;
      readonly onStep: (step: Step, outcome: Outcome) => void;
    },
  ): Promise<Pick<StorePlan, 'retention' | 'steps'>> {
    const { shown, replaces, signal, onStep } = options;
    const { store, prefix, station, holder, hasConditions, leaseSeconds } = this.#parts;
    const agreed = new BucketPolicy(this.#parts, policy);
    // A lease in the bucket of others would hold them up.
    await agreed.check(replaces, signal);
    await this.#checkRights(signal);
    const leaseParts = { store, prefix, station, holder };
    const lease = hasConditions
      ? await PruneLease.take(
          leaseSeconds === undefined ? leaseParts : { ...leaseParts, seconds: leaseSeconds },
          signal,
        )
      : null;
    try {
      await agreed.settle(replaces, signal);
      const looked = await this.#look(policy, options);
      const wanted = new Set((shown ?? looked).steps.map(({ kind, folder }) => `${kind} ${folder}`));
      const ofKind = (...kinds: StepKind[]) => looked.steps.filter(({ kind }) => kinds.includes(kind));
      const asOf = store.now();
      await lease?.renew(signal);
      await inGroups(ofKind('withdraw', 'revive', 'finish'), async (step) => {
        onStep(step, await this.#mend(looked, step, asOf, signal));
      });
      const isWanted = ({ kind, folder }: Step) => wanted.has(`${kind} ${folder}`);
      await inGroups(ofKind('announce').filter(isWanted), async (step) => {
        onStep(step, await this.#announce(step, signal));
      });
      const due = ofKind('remove').filter(isWanted);
      await this.#removeAll(looked, due, policy, { lease, agreed, signal, onStep });
      return { retention: looked.retention, steps: looked.steps };
    } finally {
      await lease?.release(AbortSignal.timeout(RELEASE_LIMIT_MS));
    }
  }

  async #look(policy: RetentionPolicy, { only, signal, onProgress }: StorePlanOptions): Promise<Looked> {
    const { store, prefix, readManifest, graceMs } = this.#parts;
    // The journals last: what they tell is then no older than the list.
    const inventory = await takeInventory(store, prefix, { signal, onProgress });
    const notes = await this.#readNotes(inventory, signal);
    const told = await this.#told(inventory, signal);
    const union = await unionOf({ ...told, inventory, notes, readManifest, only, signal });
    const retention = planRetention(union.facts, policy);
    const steps = stepsOf({ decisions: retention.decisions, names: union.names, inventory, notes, graceMs });
    return { retention, steps, union, inventory, notes };
  }

  /** What all stations have told until now. */
  async #told(inventory: Inventory, signal: AbortSignal): Promise<Told> {
    const { archive, journal } = this.#parts;
    const { problems, gone } = await journal.read(signal);
    const macs = new Set((await archive.boards()).macs);
    for (const { mac } of inventory.copies.values()) macs.add(mac);
    const known = await archive.retention.known([...macs].sort(), signal);
    return { known, problems, gone, nowMs: this.#nowMs() };
  }

  async #readNotes(inventory: Inventory, signal: AbortSignal): Promise<Looked['notes']> {
    const { store } = this.#parts;
    const notes = new Map<string, NotedRemoval & { readonly removal: Removal | undefined }>();
    await inGroups([...inventory.notes], async ([folder, { key }]) => {
      const object = await getSmall(store, key, MAX_NOTE_BYTES, signal);
      if (object === undefined) return; // withdrawn since it was listed
      if (object.ageMs === undefined) throw ageless(store);
      const parsed = parseRemoval(object.bytes);
      const removal = parsed?.folder === folder && filesOf(parsed.checksums).length > 0 ? parsed : undefined;
      notes.set(folder, {
        ...{ removal, isUnderstood: removal !== undefined, ageMs: object.ageMs },
        graceMs: (removal?.graceSeconds ?? 0) * 1000,
        files: removal === undefined ? [] : filesOf(removal.checksums),
      });
    });
    return notes;
  }

  /** Of a name that nothing has. */
  async #checkRights(signal: AbortSignal): Promise<void> {
    const { store, prefix, holder } = this.#parts;
    try {
      await store.remove(`${prefix}${REMOVALS}rights-${holder}`, { signal });
    } catch (error) {
      if (!hasCode(error, 'store-denied')) throw error;
      throw new EspdError(
        'store-denied',
        `These credentials may not remove anything from the object store (${store.place})`,
        {
          hint: 'Nothing was changed. Prune at a station that may, or give this one the right: docs/fleet.md',
          cause: error,
        },
      );
    }
  }

  async #announce(step: Step, signal: AbortSignal): Promise<Outcome> {
    const { store, prefix, station, hasConditions, graceMs, createdBy } = this.#parts;
    const sums = await getSmall(store, prefix + step.folder + CHECKSUMS, MAX_CHECKSUMS_BYTES, signal);
    if (sums === undefined) return spared('the list of the object store named it, and it is not there');
    const checksums = sums.bytes.toString('utf8');
    if (filesOf(checksums).length === 0) return spared(`its ${CHECKSUMS} is not understood: a person decides`);
    const removal: Removal = {
      ...{ formatVersion: 1, folder: step.folder, checksums, station, createdBy },
      why: step.reasons
        .map(({ text }) => text)
        .join('; ')
        .slice(0, 4096),
      at: new Date(this.#nowMs()).toISOString(),
      graceSeconds: Math.ceil(graceMs / 1000),
    };
    const condition = hasConditions ? 'if-absent' : undefined;
    await store.put(removalKey(prefix, step.folder), formatObject(removal), { condition, signal });
    return { done: 'announce' };
  }

  async #mend(looked: Looked, step: Step, asOf: number, signal: AbortSignal): Promise<Outcome> {
    const removal = looked.notes.get(step.folder)?.removal;
    if (step.kind === 'finish' && removal !== undefined) return this.#clear(step, removal, false, asOf, signal);
    return this.#withdraw(step, removal, asOf, signal);
  }

  /** The backup stays: it is whole again, if it was not, before its note goes. */
  async #withdraw(step: Step, removal: Removal | undefined, asOf: number, signal: AbortSignal): Promise<Outcome> {
    const { store, prefix, hasConditions } = this.#parts;
    const key = prefix + step.folder + CHECKSUMS;
    const isWhole = (await store.head(key, { signal })) !== undefined;
    if (!isWhole && removal !== undefined) {
      const names = filesOf(removal.checksums);
      const heads = await Promise.all(names.map((name) => store.head(prefix + step.folder + name, { signal })));
      if (heads.includes(undefined)) return this.#clear(step, removal, false, asOf, signal);
      const condition = hasConditions ? 'if-absent' : undefined;
      await store.put(key, Buffer.from(removal.checksums), { condition, signal });
    }
    await store.remove(removalKey(prefix, step.folder), { asOf, signal });
    return { done: isWhole ? 'withdraw' : 'revive' };
  }

  async #removeAll(
    looked: Looked,
    steps: readonly Step[],
    policy: RetentionPolicy,
    { lease, agreed, signal, onStep }: Removing,
  ): Promise<void> {
    const { clock, store, prefix } = this.#parts;
    const queue = [...steps];
    while (queue.length > 0) {
      signal.throwIfAborted();
      // Whoever is stopped behind this line, for however long, has what it still sends refused.
      const asOf = store.now();
      const startMs = clock.now();
      await lease?.renew(signal);
      // Without a lease another station may have set its own meanwhile.
      await agreed.check(null, signal);
      const union = withMarks(looked.union, await this.#told(looked.inventory, signal));
      const verdicts = new Map(planRetention(union.facts, policy).decisions.map((each) => [nameKey(each), each]));
      const board = new KeptOnes(store, prefix, union, verdicts);
      const batch = queue.splice(0, BATCH);
      await inGroups(batch, async (step) => {
        const isLate = () => clock.now() - startMs > ROUND_MS || store.now() - asOf > ROUND_MS;
        try {
          if (isLate()) queue.push(step);
          else onStep(step, await this.#removeOne(looked, step, { verdicts, board, asOf, signal }));
        } catch (error) {
          // The machine slept, or the process was stopped: the store has refused what was decided before.
          if (!hasCode(error, 'store-clock') || !isLate()) throw error;
          queue.push(step);
        }
      });
    }
  }

  async #removeOne(looked: Looked, step: Step, { verdicts, board, asOf, signal }: Round): Promise<Outcome> {
    const verdict = verdicts.get(nameKey(step));
    if (verdict?.stays === false) return this.#remove(step, board, asOf, signal);
    const reasons = verdict?.reasons ?? [];
    if (!isForNow(reasons)) await this.#withdraw(step, looked.notes.get(step.folder)?.removal, asOf, signal);
    return { spared: reasons };
  }

  async #remove(step: Step, board: KeptOnes, asOf: number, signal: AbortSignal): Promise<Outcome> {
    const { store, prefix, graceMs } = this.#parts;
    const note = await getSmall(store, removalKey(prefix, step.folder), MAX_NOTE_BYTES, signal);
    const removal = note === undefined ? undefined : parseRemoval(note.bytes);
    if (removal === undefined) return spared('its removal was withdrawn');
    const about = { ageMs: note?.ageMs ?? null, graceMs: removal.graceSeconds * 1000 };
    if (leftOf(about, graceMs) > 0) return spared('its removal was announced anew');
    const missing = await board.missing(step.mac, signal);
    if (missing !== undefined) {
      return spared(`the list of the object store names ${missing}, which should stay, and it is not there`);
    }
    // Somebody has pinned it of whom the journals do not tell yet, or a person has put the hold on it.
    if ((await store.head(prefix + step.folder + CHECKSUMS, { signal }))?.isHeld === true) {
      await this.#withdraw(step, removal, asOf, signal);
      return spared('the object store holds it (legal hold)');
    }
    return this.#clear(step, removal, true, asOf, signal);
  }

  async #clear(step: Step, removal: Removal, mayBeWhole: boolean, asOf: number, signal: AbortSignal): Promise<Outcome> {
    const { store, prefix, journal } = this.#parts;
    const { checksums } = removal;
    const { mac, id, folder } = step;
    const noteKey = removalKey(prefix, folder);
    const outcome = await takeAway({ store, folder: prefix + folder, checksums, mayBeWhole, asOf, signal });
    if (outcome === 'another') {
      await store.remove(noteKey, { asOf, signal });
      return spared('under its name is another one than was announced');
    }
    if (outcome === 'returned') return spared('a station has put it there again');
    await journal.addRemoved({ mac, id, folder }, signal);
    await store.remove(noteKey, { asOf, signal });
    return { done: mayBeWhole ? 'remove' : 'finish' };
  }

  /**
   * The store's time where this machine's is too wrong: a clock that is a year ahead makes backups of next year, and by them
   * all others would be old.
   */
  #nowMs(): number {
    return this.#parts.store.now();
  }
}

function spared(text: string): Outcome {
  return { spared: [{ code: 'held', text }] };
}
