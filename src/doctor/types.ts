/** What the doctor says, and how one finding is made of a judgement. Pure. */

import { printable } from '../printable.ts';
import { shellWord } from '../transfer/finish-command.ts';

/** `note`: works, but somebody should know. `problem`: something that espd is for does not work, or will not. */
export type CheckStatus = 'ok' | 'note' | 'problem';

/** One check as `--json` and the API give it. */
export interface Check {
  /** Stable, for scripts: `port-rights`, `udev-rules`, ... */
  readonly id: string;
  readonly status: CheckStatus;
  /** One sentence without a full stop; printable. */
  readonly title: string;
  /** More of it: why, or what to look at; printable. */
  readonly detail?: string;
  readonly fix?: CheckFix;
}

export interface CheckFix {
  /** For a POSIX shell, with `sudo` where this user needs it. */
  readonly command: string;
  /** `espd doctor --fix` does it: it touches no board, removes nothing and can be undone. */
  readonly safe: boolean;
}

export interface DoctorReport {
  readonly checks: readonly Check[];
  /** No check is a problem. */
  readonly ok: boolean;
}

/** One thing to do. `root`: only root may. */
export type Step =
  | { readonly kind: 'run'; readonly argv: readonly string[]; readonly root: boolean }
  /** Makes a new file, mode 0644, and its folder; a file that is there already is never replaced. */
  | { readonly kind: 'write'; readonly path: string; readonly text: string; readonly root: boolean };

export interface Remedy {
  readonly steps: readonly Step[];
  readonly safe: boolean;
  /** What is shown instead of the steps, where there are none. */
  readonly command?: string;
}

/** A check with what mends it, as steps. */
export interface Finding {
  readonly id: string;
  readonly status: CheckStatus;
  readonly title: string;
  readonly detail?: string;
  readonly remedy?: Remedy;
}

interface More {
  readonly detail?: string | undefined;
  readonly remedy?: Remedy | undefined;
}

export function ok(id: string, title: string, detail?: string): Finding {
  return finding(id, 'ok', title, { detail });
}

export function note(id: string, title: string, more: More = {}): Finding {
  return finding(id, 'note', title, more);
}

export function problem(id: string, title: string, more: More = {}): Finding {
  return finding(id, 'problem', title, more);
}

/** What this machine does not let us see is no problem, and is never passed over in silence. */
export function cannotCheck(id: string, what: string, why: string): Finding {
  return note(id, `${what}: cannot be checked: ${why}`);
}

function finding(id: string, status: CheckStatus, title: string, { detail, remedy }: More): Finding {
  return {
    ...{ id, status, title },
    ...(detail === undefined || detail === '' ? {} : { detail }),
    ...(remedy === undefined ? {} : { remedy }),
  };
}

export function asRoot(...argv: readonly string[]): Step {
  return { kind: 'run', argv, root: true };
}

export function asUser(...argv: readonly string[]): Step {
  return { kind: 'run', argv, root: false };
}

/** What `--fix` may do. */
export function safely(...steps: readonly Step[]): Remedy {
  return { steps, safe: true };
}

/** What only a person may decide: it is shown and never done. */
export function byHand(...steps: readonly Step[]): Remedy {
  return { steps, safe: false };
}

/** A command of a shell that only a person types. */
export function told(command: string): Remedy {
  return { steps: [], safe: false, command };
}

/** The steps for a shell, in one line. */
export function commandOf({ steps, command }: Remedy, isRoot: boolean): string {
  if (command !== undefined) return command;
  return steps.map((step) => stepCommand(step, step.root && !isRoot ? 'sudo ' : '')).join(' && ');
}

function stepCommand(step: Step, sudo: string): string {
  if (step.kind === 'run') return sudo + step.argv.map(shellWord).join(' ');
  const folder = step.path.slice(0, step.path.lastIndexOf('/')) || '/';
  const lines = step.text.trimEnd().split('\n').map(shellWord).join(' ');
  return `${sudo}mkdir -p ${shellWord(folder)} && printf '%s\\n' ${lines} | ${sudo}tee ${shellWord(step.path)}`;
}

export function toCheck({ id, status, title, detail, remedy }: Finding, isRoot: boolean): Check {
  return {
    ...{ id, status, title: printable(title) },
    ...(detail === undefined ? {} : { detail: detailText(detail) }),
    ...(remedy === undefined ? {} : { fix: { command: commandOf(remedy, isRoot), safe: remedy.safe } }),
  };
}

/** The faults of a config come one a line. */
function detailText(detail: string): string {
  return detail.split('\n').slice(0, MAX_DETAIL_LINES).map(printable).join('\n');
}

const MAX_DETAIL_LINES = 12;
const NAMED = 3;

/** `a, b, c and 4 more`. */
export function some(names: readonly string[]): string {
  const rest = names.length - NAMED;
  if (rest > 0) return `${names.slice(0, NAMED).join(', ')} and ${rest} more`;
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1) ?? ''}`;
}
