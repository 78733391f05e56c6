/** A job as `/v1/jobs/{job}` tells it. */

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
