/** How commands tell of problems and of foreign entries in the archive. */

import type { ArchiveProblem, ForeignEntry } from '../archive/types.ts';
import type { Output } from './output.ts';
import { printable } from './text.ts';

export function noteProblems(out: Output, problems: readonly ArchiveProblem[]): void {
  for (const { file, problem } of problems) out.note(`problem: ${printable(file)} ${printable(problem)}`);
}

/** Foreign entries are worth a word, and no error: no backup suffers from them. */
export function noteForeign(out: Output, foreign: readonly ForeignEntry[]): void {
  for (const { file, problem } of foreign)
    out.note(`note: ${printable(file === '' ? 'the archive' : file)} ${problem}`);
  if (foreign.length > 0) out.note('note: foreign files harm no backup, and espd leaves them alone');
}
