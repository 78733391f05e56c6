/** `espd push`: what is not in the object store yet, now; or, with `--dry-run`, what that would be. */

import type { EspdError } from '../../errors.ts';
import { type Fleet, judge } from '../../replication/open.ts';
import type { Bucket } from '../../replication/push-backup.ts';
import { Refusals } from '../../replication/refusals.ts';
import { pushOne } from '../../replication/replicator.ts';
import type { KeptFacts } from '../../replication/state.ts';
import { type Unpushed, type Waiting, findUnpushed } from '../../replication/unpushed.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import { plural, printable } from '../text.ts';
import { fleetOf, journalOf } from './open.ts';
import { holdPins } from './pin-locks.ts';

export interface PushCommandOptions {
  /** As typed; empty = all boards. */
  readonly boards: readonly string[];
  readonly dryRun: boolean;
  readonly probe: boolean;
}

/** So many are named in text; `--json` has all. */
const MAX_NAMED = 20;

export async function push(
  context: CommandContext,
  options: PushCommandOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, out } = context;
  const fleet = fleetOf(context, env);
  try {
    await archive.checkReadable();
    const { waiting, removed } = await unpushedOf(context, fleet, options.boards);
    if (removed.length > 0) {
      const them = removed.length === 1 ? 'It stays' : 'They stay';
      out.note(
        `${plural(removed.length, 'backup')} here ${removed.length === 1 ? 'was' : 'were'} removed from the object store ` +
          `by its retention. ${them} out of it; what is pinned (espd pin) goes there again`,
      );
    }
    if (options.probe) await fleet.probe(context.signal);
    return await (options.dryRun ? tell(context, fleet, waiting, removed) : pushAll(context, fleet, waiting, removed));
  } finally {
    out.status('');
    fleet.close();
  }
}

async function unpushedOf({ archive }: CommandContext, fleet: Fleet, boards: readonly string[]): Promise<Unpushed> {
  if (boards.length === 0) return findUnpushed(archive, fleet);
  const waiting: Waiting[] = [];
  const removed: Waiting[] = [];
  for (const mac of new Set(await Promise.all(boards.map((text) => archive.resolveBoard(text))))) {
    const ofBoard = await findUnpushed(archive, fleet, mac);
    waiting.push(...ofBoard.waiting);
    removed.push(...ofBoard.removed);
  }
  return { waiting, removed };
}

async function tell(
  { out }: CommandContext,
  fleet: Fleet,
  waiting: readonly Waiting[],
  removed: readonly Waiting[],
): Promise<undefined> {
  const facts = (await fleet.state.facts()) ?? null;
  const place = printable(fleet.place);
  if (waiting.length === 0) out.line(`Every backup is in the object store, ${place}`);
  else out.line(`Not in the object store yet (${place}): ${plural(waiting.length, 'backup')}`);
  for (const { mac, id } of waiting.slice(0, MAX_NAMED)) out.line(`  ${mac}  ${id}`);
  if (waiting.length > MAX_NAMED) out.line(`  and ${waiting.length - MAX_NAMED} more`);
  noteFacts(out, facts);
  out.document({
    store: fleet.place,
    station: await fleet.state.station(),
    facts: factsJson(facts),
    ...{ waiting, removed },
  });
  return undefined;
}

async function pushAll(
  context: CommandContext,
  fleet: Fleet,
  waiting: readonly Waiting[],
  removed: readonly Waiting[],
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  const pushed: (Waiting & { readonly place: string; readonly sentBytes: number })[] = [];
  const failures: (Waiting & { readonly error: EspdError })[] = [];
  let fault: EspdError | undefined;
  let bucket: (Bucket & { readonly facts: KeptFacts }) | undefined;
  try {
    const opened = await fleet.open(signal);
    bucket = opened;
    noteFacts(out, opened.facts);
    const refusals = new Refusals();
    for (const [index, backup] of waiting.entries()) {
      out.status(`Pushing ${backup.mac} ${backup.id} (${index + 1} of ${waiting.length})`);
      const error = await refusals.attempt(async () => {
        pushed.push({ ...backup, ...(await pushOne(archive, fleet, opened, backup, signal)) });
      }, signal);
      if (error !== undefined) failures.push({ ...backup, error });
    }
    out.status('Telling the other stations');
    if ((await journalOf(context, fleet).write(opened, signal)) === undefined) {
      out.note('The other stations are told by another espd of this station, which is at it');
    }
    const holds = await holdPins(context, fleet);
    if (holds !== undefined) out.note(holds);
  } catch (error) {
    fault = endedBy(signal, error);
  }
  out.status('');
  for (const { mac, id, error } of failures) out.behind('FAILED  ', `${mac} ${id}: ${printable(error.message)}`);
  const left = waiting.length - pushed.length;
  if (left > 0) out.line(`${plural(pushed.length, 'backup')} pushed, ${left} not`);
  else if (pushed.length === 0) out.line(`Every backup is in the object store, ${printable(fleet.place)}`);
  else out.line(`${plural(pushed.length, 'backup')} pushed: complete in the object store, ${printable(fleet.place)}`);
  const apart = pushed.filter(({ place }) => place === 'station').length;
  if (apart > 0 && bucket?.hasConditions === true) {
    out.note(`${apart} of them in this station's own folder: another station has a backup of that name`);
  }
  const error = fault ?? failures[0]?.error;
  out.document({
    store: fleet.place,
    station: await fleet.state.station(),
    facts: factsJson(bucket?.facts ?? null),
    ...{ pushed, failures, removed },
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

function noteFacts(out: CommandContext['out'], facts: KeptFacts | null): void {
  if (facts === null) return;
  const { troubles, instead } = judge(facts);
  for (const trouble of troubles) out.note(`About this object store: ${trouble}`);
  if (instead !== null) out.note(`So ${instead}`);
}

function factsJson(facts: KeptFacts | null): object | null {
  return facts && { ...facts, instead: judge(facts).instead };
}
