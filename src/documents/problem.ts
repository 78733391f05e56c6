/** A problem of the archive, as it stands in documents. */

import type { ArchiveProblem } from '../archive/types.ts';

export function problemJson({ mac, id, file, problem }: ArchiveProblem): object {
  return { mac, id, file, problem };
}
