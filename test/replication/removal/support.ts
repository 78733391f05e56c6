/** Pruners of a bucket, each as a process of its own would be: what they share is the store alone. */

import { randomBytes } from 'node:crypto';
import type { TestContext } from 'node:test';
import { type KeepRules, NO_RULES, type RetentionPolicy } from '../../../src/archive/retention/policy.ts';
import type { Clock } from '../../../src/clock.ts';
import type { MayHavePinned } from '../../../src/replication/journal/gone.ts';
import { manifestReader } from '../../../src/replication/removal/read-manifest.ts';
import type { PolicyThere } from '../../../src/replication/removal/bucket-policy.ts';
import type { Step } from '../../../src/replication/removal/steps.ts';
import {
  type Gone,
  type Outcome,
  StorePruner,
  type StorePrunerParts,
} from '../../../src/replication/removal/store-pruner.ts';
import { FakeS3 } from '../../store/fake-s3.ts';
import { type Station, hurriedClock, image, never } from '../support.ts';

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const GRACE_MS = 7 * DAY_MS;

export function policyOf(rules: Partial<KeepRules>): RetentionPolicy {
  return { rules: { ...NO_RULES, ...rules }, boards: new Map(), groups: new Map(), maxBytes: null };
}

/** The first is never removed, nor the newest: so of N backups N-2 go. */
export const NEWEST_ALONE = policyOf({ last: 1 });

export async function fakeStore(t: TestContext): Promise<{ fake: FakeS3; endpoint: string }> {
  const fake = new FakeS3();
  const endpoint = await fake.start();
  t.after(() => fake.stop());
  return { fake, endpoint };
}

/** Backups of one board in as many months, in the bucket. */
export async function pushed(station: Station, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let month = 1; month <= count; month++) {
    const createdAt = `2020-${String(month).padStart(2, '0')}-01T10:00:00.000Z`;
    ids.push((await station.keep(image(20_000 + month, month), { createdAt })).id);
  }
  await station.pushAll();
  return ids;
}

export interface Told {
  readonly gone: Gone[];
  /** What stands in journals that cannot be read. */
  problems: string[];
  /** Stations that are gone for ever, of which not all was heard. */
  mayHavePinned: MayHavePinned[];
  /** Asked whenever the journals are read. */
  onRead: (count: number) => Promise<void> | void;
  reads: number;
}

export async function prunerOf(
  station: Station,
  change: Partial<StorePrunerParts> & { readonly clock?: Clock } = {},
): Promise<{ readonly pruner: StorePruner; readonly told: Told }> {
  const bucket = await station.again().open(never);
  const told: Told = { gone: [], problems: [], mayHavePinned: [], onRead: () => undefined, reads: 0 };
  const { store, layout, keys, hasConditions } = bucket;
  const pruner = new StorePruner({
    ...{ store, hasConditions, prefix: layout.prefix, station: layout.station, graceMs: GRACE_MS },
    holder: randomBytes(6).toString('hex'),
    archive: station.archive,
    journal: {
      read: async () => {
        await told.onRead(++told.reads);
        return { problems: told.problems, gone: told.mayHavePinned };
      },
      addRemoved: (gone) => {
        told.gone.push(gone);
        return Promise.resolve();
      },
    },
    readManifest: manifestReader({
      store,
      prefix: layout.prefix,
      keys,
      noted: () => Promise.resolve(undefined),
    }),
    clock: hurriedClock,
    createdBy: 'espd 0.0.0-test',
    ...change,
  });
  return { pruner, told };
}

/** One run of all that there is to do, by whoever may set the first policy, and what came of each step. */
export async function run(
  pruner: StorePruner,
  policy: RetentionPolicy = NEWEST_ALONE,
  signal: AbortSignal = never,
  replaces: PolicyThere | null = { kind: 'none' },
): Promise<{ readonly done: string[]; readonly steps: readonly Step[] }> {
  const done: string[] = [];
  const onStep = (step: Step, outcome: Outcome) => {
    done.push(
      'done' in outcome
        ? `${outcome.done} ${step.id}`
        : `spared ${step.id}: ${outcome.spared.map(({ text }) => text).join()}`,
    );
  };
  const { steps } = await pruner.carryOut(policy, { shown: null, replaces, onStep, signal });
  return { done: done.sort(), steps };
}

/** The store's clock goes on by so much. */
export function later(fake: FakeS3, ms: number): void {
  fake.quirks.aheadMs = (fake.quirks.aheadMs ?? 0) + ms;
}

/** Ids of the complete backups in the bucket; throws where one is there in part under SHA256SUMS. */
export function complete(fake: FakeS3): string[] {
  const folders = fake.names.flatMap((name) => /^(?!removals\/)(.*\/)SHA256SUMS$/.exec(name)?.[1] ?? []);
  for (const folder of folders) {
    for (const line of fake.text(`${folder}SHA256SUMS`).trim().split('\n')) {
      const name = folder + (line.split('  ')[1] ?? '');
      if (!fake.objects.has(name)) throw new Error(`${name} is missing under a SHA256SUMS`);
    }
  }
  return folders.map((folder) => folder.split('/').at(-2) ?? '').sort();
}

/** Names of everything but probes, the lease, and complete backups. */
export function rest(fake: FakeS3): string[] {
  const whole = new Set(fake.names.flatMap((name) => /^(.*\/)SHA256SUMS$/.exec(name)?.[1] ?? []));
  return fake.names.filter(
    (name) => !/^(?:probes|leases)\//.test(name) && !whole.has(name.slice(0, name.lastIndexOf('/') + 1)),
  );
}
