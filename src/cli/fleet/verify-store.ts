/** `espd verify --store`: what lies in the object store is read back and compared; with `--repair`, mended from what is here. */

import { parseSample } from '../../archive/sample.ts';
import { EspdError, hasCode, toEspdError } from '../../errors.ts';
import type { Mac } from '../../mac.ts';
import type { Fleet, OpenedFleet } from '../../replication/open.ts';
import { Refusals } from '../../replication/refusals.ts';
import { pushOne } from '../../replication/replicator.ts';
import { repairCopy } from '../../replication/verify/repair.ts';
import { type StoreProblem, type VerifyOutcome, type VerifyPlan } from '../../replication/verify/verify-store.ts';
import { commandLine } from '../../transfer/finish-command.ts';
import type { CommandContext } from '../context.ts';
import { endedBy } from '../ended-by.ts';
import { formatSize, plural, printable } from '../text.ts';
import { fleetOf, storeVerifierOf } from './open.ts';

export interface VerifyStoreOptions {
  /** As typed; empty = all boards. */
  readonly boards: readonly string[];
  /** As typed: `5%` or `2/7`. */
  readonly sample?: string | undefined;
  readonly newest: boolean;
  readonly goOn: boolean;
  readonly repair: boolean;
  readonly dryRun: boolean;
}

/** So many objects between two looks at the line of progress. */
const PROGRESS_STEP = 1000;
/** So many foreign objects are named in text. */
const MAX_NAMED = 5;

export async function verifyStore(
  context: CommandContext,
  options: VerifyStoreOptions,
  env: NodeJS.ProcessEnv,
): Promise<EspdError | undefined> {
  const { archive, out, signal } = context;
  checkOptions(options);
  const fleet = fleetOf(context, env);
  try {
    await archive.checkReadable();
    const macs: Mac[] = [];
    for (const board of options.boards) macs.push(await archive.resolveBoard(board));
    const verifier = await storeVerifierOf(context, fleet);
    const plan = await verifier.plan({
      ...{ newest: options.newest, goesOn: options.goOn, signal },
      only: macs.length === 0 ? undefined : new Set(macs),
      sample: options.sample === undefined ? undefined : parseSample(options.sample),
      onListed: (objects) => {
        if (objects % PROGRESS_STEP === 0) out.status(`Listing the object store: ${plural(objects, 'object')}`);
      },
    });
    out.status('');
    const { items, bytes } = plan;
    out.note(`To read from ${printable(fleet.place)}: ${plural(items.length, 'backup')}, ${formatSize(bytes)}`);
    if (options.dryRun) {
      const error = tell(context, plan, [...plan.missing], NOTHING, false);
      out.document(jsonOf(fleet, plan, [...plan.missing], NOTHING, [], error));
      return error;
    }
    const onProgress = ({ mac, id }: { mac: Mac; id: string }, done: number, read: number) =>
      out.status(
        `Verifying ${mac} ${id} in the store: ${done} of ${items.length}, ${formatSize(read)} of ${formatSize(bytes)}`,
      );
    const outcome = await verifier.run(plan, { signal, onProgress }).finally(() => out.status(''));
    const problems = [...plan.missing, ...outcome.problems];
    const mended: Mending[] = [];
    const isMending = options.repair && !signal.aborted;
    const ended = isMending ? await repairAll(context, fleet, problems, mended) : undefined;
    const isMended = new Set(mended.flatMap((each) => ('mended' in each ? [nameOf(each)] : [])));
    const left = problems.filter((problem) => !isMended.has(nameOf(problem)));
    const verdict = tell(context, plan, left, outcome, options.repair);
    const error = signal.aborted ? endedBy(signal, signal.reason) : (verdict ?? ended);
    if (ended !== undefined && error !== ended) out.note(`The repair ended early: ${printable(ended.message)}`);
    await tellRepairs(context, options.repair, left, mended);
    out.document(jsonOf(fleet, plan, left, outcome, mended, error));
    return error;
  } finally {
    out.status('');
    fleet.close();
  }
}

const NOTHING: VerifyOutcome = { checked: 0, readBytes: 0, problems: [], fault: undefined };

function checkOptions({ boards, sample, newest, goOn, repair, dryRun }: VerifyStoreOptions): void {
  const isPart = boards.length > 0 || sample !== undefined || newest;
  if (goOn && isPart) {
    throw new EspdError(
      'usage',
      '--continue goes on with a run over everything, so it goes without boards, --sample and --newest',
      {
        hint: 'A sample takes first what was verified longest ago, so the next one goes on by itself',
      },
    );
  }
  if (repair && dryRun) throw new EspdError('usage', '--repair does not go together with --dry-run');
}

type Named = Pick<StoreProblem, 'mac' | 'id' | 'folder'>;
type Mending = Named & ({ readonly mended: readonly string[] } | { readonly why: string });

const nameOf = ({ folder }: Named) => folder;

/** @returns what has ended it before all had their turn */
async function repairAll(
  context: CommandContext,
  fleet: Fleet,
  problems: readonly StoreProblem[],
  mendings: Mending[],
): Promise<EspdError | undefined> {
  const { out, signal } = context;
  const folders = new Map<string, StoreProblem[]>();
  for (const problem of problems) {
    if (problem.error.code === 'store-damaged')
      folders.set(nameOf(problem), [...(folders.get(nameOf(problem)) ?? []), problem]);
  }
  if (folders.size === 0) return undefined;
  const refusals = new Refusals();
  try {
    const bucket = await fleet.open(signal);
    for (const ofFolder of folders.values()) {
      const [{ mac, id, folder }] = ofFolder as [StoreProblem];
      out.status(`Repairing ${mac} ${id} in the store`);
      const fault = await refusals.attempt(async () => {
        mendings.push({ mac, id, folder, ...(await repairOne(context, fleet, bucket, ofFolder)) });
      }, signal);
      if (fault !== undefined) mendings.push({ mac, id, folder, why: fault.message });
    }
    return undefined;
  } catch (error) {
    return endedBy(signal, error);
  } finally {
    out.status('');
  }
}

async function repairOne(
  { archive, signal }: CommandContext,
  fleet: Fleet,
  bucket: OpenedFleet,
  problems: readonly StoreProblem[],
): Promise<{ readonly mended: readonly string[] } | { readonly why: string }> {
  const [{ mac, id, folder }] = problems as [StoreProblem];
  if (!(await isHere(archive, { mac, id }))) return { why: 'no copy of it is here' };
  // What is not there as a whole is no backup there: it goes up as any other, and nothing is replaced.
  if (problems.every(({ file }) => file === '')) {
    const { place } = await pushOne(archive, fleet, bucket, { mac, id }, signal);
    return { mended: [place === 'station' ? "all of it, in this station's own folder" : 'all of it'] };
  }
  const backup = await archive.resolveBackup(mac, id);
  const files = new Set(problems.map(({ file }) => file));
  const repair = await repairCopy({ bucket, archive, signal }, backup, { mac, id, folder }, files);
  return 'why' in repair ? repair : { mended: repair.replaced };
}

async function isHere(
  archive: CommandContext['archive'],
  { mac, id }: Pick<StoreProblem, 'mac' | 'id'>,
): Promise<boolean> {
  const ids = await archive.backupIds(mac).catch((error: unknown): readonly string[] => {
    if (hasCode(error, 'archive-unknown-board', 'archive-missing')) return [];
    throw error;
  });
  return ids.includes(id);
}

const pathOf = ({ folder, file }: StoreProblem) => printable(`${folder}${file}`);

function tell(
  { call, out, signal }: CommandContext,
  { items, of, incomplete, foreign, passMs }: VerifyPlan,
  problems: readonly StoreProblem[],
  { checked, readBytes, fault }: VerifyOutcome,
  isRepair: boolean,
): EspdError | undefined {
  const damaged = problems.filter(({ error }) => error.code === 'store-damaged');
  const unread = problems.filter((problem) => !damaged.includes(problem));
  for (const problem of damaged) {
    out.behind(problem.file === '' ? 'MISSING  ' : 'DAMAGED  ', `${pathOf(problem)}: ${printable(problem.problem)}`);
  }
  for (const problem of unread) out.behind('NOT READ  ', `${pathOf(problem)}: ${printable(problem.problem)}`);
  const part = of === items.length ? '' : ` of ${of}`;
  const count = `${plural(checked, 'backup')}${part}`;
  if (fault === undefined && problems.length === 0 && checked > 0) {
    out.line(
      `${count} in the object store verified, ${formatSize(readBytes)} read: every object is as it was put there`,
    );
  }
  if (fault !== undefined && signal.aborted) {
    out.line(`${checked} of ${plural(items.length, 'backup')} in the object store verified until it was interrupted`);
    if (passMs !== null) out.note(`To go on with it: ${commandLine(call, ...GO_ON)}`);
  }
  if (of === 0) out.line('No backup of these boards lies in the object store');
  if (incomplete > 0) out.note(`Not complete there, so no backup: ${plural(incomplete, 'folder')}`);
  if (foreign.count > 0) {
    const names = foreign.names.slice(0, MAX_NAMED).map(printable).join(', ');
    out.note(`Not of espd: ${plural(foreign.count, 'object')}, such as ${names}`);
  }
  const damageHint = isRepair
    ? REPAIR_FAILED
    : `Nothing there was changed. At a station that has a sound copy this puts it in order: ${commandLine(call, ...REPAIR)}`;
  const left = items.length - checked;
  return verdictOf({ damaged, unread, count, left, fault, damageHint, goOn: commandLine(call, ...GO_ON) });
}

const REPAIR = ['verify', '--store', '--repair'];
const GO_ON = ['verify', '--store', '--continue'];
const REPAIR_FAILED =
  'What is named as not repaired is as it was. Try at the station that made it; else keep it for whoever looks into it';

function verdictOf({
  damaged,
  unread,
  count,
  left,
  fault,
  damageHint,
  goOn,
}: {
  readonly damaged: readonly StoreProblem[];
  readonly unread: readonly StoreProblem[];
  readonly count: string;
  readonly left: number;
  readonly fault: unknown;
  readonly damageHint: string;
  /** The command. */
  readonly goOn: string;
}): EspdError | undefined {
  const more = fault === undefined ? '' : `; ${left} more could not be read: ${toEspdError(fault).message}`;
  if (damaged.length > 0) {
    return new EspdError(
      'store-damaged',
      `${plural(damaged.length, 'problem')} in ${count} of the object store${more}`,
      {
        hint: damageHint,
      },
    );
  }
  if (fault !== undefined) {
    const { code, message, hint } = toEspdError(fault);
    return new EspdError(code, `${count} verified and sound, ${left} not reached: ${message}`, {
      hint: `${hint}. Over everything it goes on with: ${goOn}`,
      cause: fault,
    });
  }
  const [first] = unread;
  if (first === undefined) return undefined;
  return new EspdError(first.error.code, `${plural(unread.length, 'object')} could not be judged; all else is sound`, {
    hint: first.error.hint,
  });
}

async function tellRepairs(
  { archive, call, out }: CommandContext,
  isRepair: boolean,
  left: readonly StoreProblem[],
  mendings: readonly Mending[],
): Promise<void> {
  for (const mending of mendings) {
    const { mac, id } = mending;
    if ('mended' in mending)
      out.behind('REPAIRED  ', `${mac} ${id}: ${mending.mended.join(', ')}, read again and sound`);
    else out.behind('NOT REPAIRED  ', `${mac} ${id}: ${printable(mending.why)}`);
  }
  if (isRepair) return;
  const here = new Set<string>();
  for (const { mac, id, error } of left) {
    if (error.code === 'store-damaged' && (await isHere(archive, { mac, id }))) here.add(`${mac} ${id}`);
  }
  if (here.size > 0)
    out.note(`Of ${plural(here.size, 'backup')} of these a copy is here: ${commandLine(call, ...REPAIR)}`);
}

function jsonOf(
  fleet: Fleet,
  { items, bytes, of, incomplete, foreign }: VerifyPlan,
  problems: readonly StoreProblem[],
  { checked, readBytes }: VerifyOutcome,
  mendings: readonly Mending[],
  error: EspdError | undefined,
): object {
  const list = (which: (problem: StoreProblem) => boolean) =>
    problems
      .filter(which)
      .map(({ mac, id, folder, station, file, problem }) => ({ mac, id, folder, station, file, problem }));
  const isDamage = ({ error: { code } }: StoreProblem) => code === 'store-damaged';
  return {
    ...{ store: fleet.place, checked, planned: items.length, of, readBytes, plannedBytes: bytes },
    damaged: list((each) => isDamage(each) && each.file !== ''),
    missing: list((each) => isDamage(each) && each.file === ''),
    unreadable: list((each) => !isDamage(each)),
    ...{ incomplete, foreign: foreign.names, foreignCount: foreign.count },
    repaired: mendings.flatMap((each) => ('mended' in each ? [each] : [])),
    notRepaired: mendings.flatMap((each) => ('why' in each ? [each] : [])),
    ok: error === undefined,
    ...(error === undefined ? {} : { error }),
  };
}
