/** `espd doctor`: the set-up of this machine, one line a check, and what mends it; `--fix` does what is safe. */

import { unlessAborted } from '../clock.ts';
import type { Subject } from '../doctor/subject.ts';
import { examine, reportOf } from '../doctor/doctor.ts';
import { type PlannedFix, applyFix, planFixes } from '../doctor/fix.ts';
import type { Outside } from '../doctor/outside.ts';
import { systemOutside } from '../doctor/system.ts';
import type { Check, DoctorReport } from '../doctor/types.ts';
import { EspdError, hasCode } from '../errors.ts';
import { type Consent, consentOf } from './consent.ts';
import { openContext } from './context.ts';
import type { DoctorCommandOptions } from './doctor-options.ts';
import { subjectOf, subjectWithoutConfig } from './doctor-subject.ts';
import type { CommonOptions, Host } from './host.ts';
import type { Output } from './output.ts';
import { type Styled, bold, cyan, green, plural, red, wrapText, yellow } from './text.ts';

/** What the command is given; tests have another outside. */
export interface DoctorParts {
  readonly common: CommonOptions;
  readonly host: Host;
  readonly out: Output;
  readonly outside?: Outside;
  /** What else of the subject is another one in a test. */
  readonly subject?: Partial<Subject>;
}

interface Fixed {
  readonly ids: readonly string[];
  readonly command: string;
  readonly done: boolean;
  /** Why it was not done; null where it was. */
  readonly problem: string | null;
}

/** @throws EspdError `usage`; `declined` where somebody must be asked and cannot be */
export async function doctor(parts: DoctorParts, options: DoctorCommandOptions): Promise<EspdError | undefined> {
  const { host, out } = parts;
  if (options.yes && !options.fix) {
    throw new EspdError('usage', '--yes answers the questions of --fix', { hint: 'Run "espd doctor --fix --yes"' });
  }
  const consent = options.fix ? consentTo(out, options) : undefined;
  const outside = parts.outside ?? systemOutside(host.env);
  const isRoot = outside.person.uid === 0;
  return withSubject({ ...parts, outside }, async (subject) => {
    const look = () => unlessAborted(examine(subject), host.signal);
    out.status('Checking this machine');
    const findings = await look().finally(() => out.status(''));
    const report = reportOf(findings, isRoot);
    const plan = planFixes(findings, isRoot);
    printChecks(out, report.checks);
    if (consent === undefined) return conclude(out, report, plan);

    const fixed: Fixed[] = [];
    for (const fix of plan) fixed.push(await doFix(out, fix, consent, outside, host.signal));
    if (plan.length === 0) out.note('There is nothing that --fix may do');
    const isChanged = fixed.some(({ done }) => done);
    const after = isChanged ? reportOf(await look(), isRoot) : report;
    if (isChanged) printAfter(out, report, after);
    return conclude(out, after, [], fixed);
  });
}

function consentTo(out: Output, { yes }: DoctorCommandOptions): Consent {
  const deed = { infinitive: 'change the set-up', participle: 'changed', look: 'leave out --fix' };
  return consentOf(out, { yes, dryRun: false }, deed);
}

async function withSubject(
  parts: DoctorParts & { readonly outside: Outside },
  work: (subject: Subject) => Promise<EspdError | undefined>,
): Promise<EspdError | undefined> {
  const { common, host, out, outside } = parts;
  try {
    const context = await openContext(common, host, out, { command: 'doctor', isService: false });
    try {
      return await work({ ...subjectOf(context, host.env, outside), ...parts.subject });
    } finally {
      await context.log.close();
    }
  } catch (error) {
    if (!hasCode(error, 'config-invalid', 'config-unreadable')) throw error;
    return work({ ...subjectWithoutConfig(error, host.env, outside), ...parts.subject });
  }
}

/** As wide as the longest mark with its blanks: what follows a check begins there. */
const INDENT = '         ';

const MARKS: Readonly<Record<Check['status'], Styled>> = {
  ok: green('ok'),
  note: yellow('note'),
  problem: red('problem'),
};

function printChecks(out: Output, checks: readonly Check[]): void {
  const shown = new Set<string>();
  for (const check of checks) {
    printCheck(out, check, shown);
    if (check.fix !== undefined) shown.add(check.fix.command);
  }
}

/** @param shown commands that stand above already */
function printCheck(out: Output, { status, title, detail, fix }: Check, shown: ReadonlySet<string>): void {
  const mark = MARKS[status];
  const width = out.columns - 1 - INDENT.length;
  const [first = '', ...others] = wrap(title, width);
  out.line(mark, ' '.repeat(INDENT.length - mark.text.length) + first);
  const details = (detail ?? '').split('\n').flatMap((line) => wrap(line, width));
  for (const line of [...others, ...details]) out.line(INDENT + line);
  // One piece, to copy: the terminal wraps it itself.
  if (fix === undefined) return;
  if (shown.has(fix.command)) out.line(`${INDENT}The same command as above`);
  else out.line(INDENT, cyan(fix.command));
}

function wrap(text: string, width: number): string[] {
  return text.length <= width ? (text === '' ? [] : [text]) : wrapText(text, width);
}

async function doFix(
  out: Output,
  fix: PlannedFix,
  consent: Consent,
  outside: Outside,
  signal: AbortSignal,
): Promise<Fixed> {
  const { ids, command, needsRoot } = fix;
  const notDone = (problem: string): Fixed => {
    out.note(`Not done: ${problem}`);
    return { ids, command, done: false, problem };
  };
  signal.throwIfAborted();
  out.note(bold(`To mend ${ids.join(', ')}:`));
  out.note(`  ${command}`);
  if (needsRoot) return notDone('only root may. Run: sudo espd doctor --fix');
  if (!(await consent('Do it?', [command]))) return notDone('nobody said yes');
  const problem = await applyFix(fix, outside);
  if (problem !== null) return notDone(problem);
  out.note('Done');
  return { ids, command, done: true, problem: null };
}

/** What is another than before, with what is new. */
function printAfter(out: Output, before: DoctorReport, after: DoctorReport): void {
  const known = new Set(before.checks.map((check) => JSON.stringify(check)));
  printChecks(
    out,
    after.checks.filter((check) => !known.has(JSON.stringify(check))),
  );
}

function conclude(
  out: Output,
  report: DoctorReport,
  plan: readonly PlannedFix[],
  fixed?: readonly Fixed[],
): EspdError | undefined {
  const count = (status: Check['status']) => report.checks.filter((check) => check.status === status).length;
  const [problems, notes] = [count('problem'), count('note')];
  const summary = `${plural(problems, 'problem')}, ${plural(notes, 'note')}, ${count('ok')} ok`;
  const offer =
    plan.length === 0 ? '' : `"espd doctor --fix" does what is safe of it (${plural(plan.length, 'command')})`;
  const error = report.ok ? undefined : new EspdError('setup-problem', summary, { hint: offer || HINT });
  if (error === undefined) {
    out.line(bold(summary));
    if (offer !== '') out.note(offer);
  }
  out.document({
    ...report,
    ...(fixed === undefined ? {} : { fixed }),
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

const HINT = 'The commands above mend it; none of them may be done without you';
