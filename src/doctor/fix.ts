/** Doing what is safe: without a shell, step by step, and nothing more once a step has failed. */

import { whyNot } from './outside.ts';
import type { Outside } from './outside.ts';
import { type Finding, type Remedy, type Step, commandOf } from './types.ts';

export interface PlannedFix {
  /** Of the checks that it mends. */
  readonly ids: readonly string[];
  readonly command: string;
  readonly remedy: Remedy;
  /** Only root may. */
  readonly needsRoot: boolean;
}

/** The safe remedies, each once, in the order of the findings. */
export function planFixes(findings: readonly Finding[], isRoot: boolean): PlannedFix[] {
  const byCommand = new Map<string, PlannedFix>();
  for (const { id, status, remedy } of findings) {
    if (status === 'ok' || remedy?.safe !== true || remedy.steps.length === 0) continue;
    const command = commandOf(remedy, isRoot);
    const ids = [...new Set([...(byCommand.get(command)?.ids ?? []), id])];
    byCommand.set(command, { ids, command, remedy, needsRoot: !isRoot && remedy.steps.some(({ root }) => root) });
  }
  return [...byCommand.values()];
}

/** Null where all steps were done, else why not. Never rejects. */
export async function applyFix({ remedy, needsRoot }: PlannedFix, outside: Outside): Promise<string | null> {
  if (!remedy.safe) return 'only a person may decide this';
  if (needsRoot) return 'only root may';
  for (const step of remedy.steps) {
    const fault = await apply(step, outside);
    if (fault !== null) return fault;
  }
  return null;
}

async function apply(step: Step, outside: Outside): Promise<string | null> {
  if (step.kind === 'run') return whyNot(step.argv[0] ?? '', await outside.run(step.argv));
  const written = await outside.write(step.path, step.text);
  if (written.found) return null;
  return written.code === 'EEXIST'
    ? `${step.path} is there already`
    : `${step.path} cannot be written (${written.code})`;
}
