/** A job as `/v1/jobs/{job}` tells it. */

import { printable } from '../../src/printable.ts';
import type { JobView } from '../../src/daemon/station.ts';
import type { ManyBoard, PlanDocument, RestoreDocument } from '../documents.ts';

export interface JobDocument extends JobView {
  readonly plan?: PlanDocument | null;
  readonly question?: string | null;
  /** The question that somebody has said yes to. */
  readonly agreed?: string | null;
  readonly document?: (RestoreDocument & { readonly report?: unknown }) | null;
  /** Of a restore onto many. */
  readonly boards?: readonly ManyBoard[];
  readonly counts?: { readonly passed: number; readonly failed: number; readonly skipped: number };
}

/** It has shown its plan, and waits for a yes. */
export function isWaiting(job: JobDocument): boolean {
  return (job.question ?? null) !== null && job.endedAt === null;
}

/** A question of a command in one line: it comes as for a terminal, with ends of lines and the keys to press. */
export function plainQuestion(question: string): string {
  const lines = question.replace(/\s*\[y\/N\]\s*$/, '').split('\n');
  return lines
    .map((line) => printable(line).trim())
    .filter((line) => line !== '')
    .join(' ');
}

/** The same without what is asked at its end: what was agreed to. */
export function agreedText(question: string): string {
  return plainQuestion(question).replace(/ [^.?]*\?$/, '');
}
