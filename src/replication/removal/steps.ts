/**
 * What is to be done with a bucket, by a plan of retention and by what is noted to be removed: first a note, then nothing
 * for the time of grace, then the removal. Pure.
 */

import type { Decision, Reason } from '../../archive/retention/types.ts';
import type { Mac } from '../../mac.ts';
import type { Inventory, NotedRemoval } from './inventory.ts';
import { parseFolder } from '../layout.ts';
import { CHECKSUMS } from '../local-backup.ts';
import { type StoredName, nameKey } from './named-copies.ts';
import type { StoredCopy } from './stored-copy.ts';
import { isThere } from './union.ts';

/**
 * `announce`: a note is written. `wait`: its grace is not over. `remove`: it is. `withdraw`: the backup stays, the note goes.
 * `revive`: the same, where SHA256SUMS is gone already: it is put back. `finish`: what a removal has left that had begun is
 * cleared.
 */
export type StepKind = 'announce' | 'wait' | 'remove' | 'withdraw' | 'revive' | 'finish';

export interface Step {
  readonly kind: StepKind;
  readonly mac: Mac;
  readonly id: string;
  readonly folder: string;
  readonly sizeBytes: number;
  readonly reasons: readonly Reason[];
  /** Of `announce` and `wait`: how long until it may be removed. */
  readonly leftMs: number;
}

export interface StepsParts {
  readonly decisions: readonly Decision[];
  readonly names: ReadonlyMap<string, StoredName>;
  readonly inventory: Inventory;
  readonly notes: ReadonlyMap<string, NotedRemoval>;
  /** Of this station. That of a note counts where it is longer. */
  readonly graceMs: number;
}

export function stepsOf({ decisions, names, inventory, notes, graceMs }: StepsParts): Step[] {
  const steps: Step[] = [];
  for (const { mac, id, stays, reasons } of decisions) {
    for (const copy of names.get(nameKey({ mac, id }))?.copies ?? []) {
      const note = notes.get(copy.folder);
      const about = { mac, id, folder: copy.folder, sizeBytes: sizeOf(copy), reasons };
      if (note === undefined) {
        if (!stays) steps.push({ kind: 'announce', ...about, leftMs: graceMs });
      } else if (stays) {
        const kind = copy.files.has(CHECKSUMS) ? 'withdraw' : 'revive';
        // One that keeps all because nothing can be judged now says nothing against the removal.
        if (!isForNow(reasons)) steps.push({ kind, ...about, leftMs: 0 });
      } else if (note.isUnderstood) {
        const leftMs = leftOf(note, graceMs);
        steps.push({ kind: leftMs > 0 ? 'wait' : 'remove', ...about, leftMs });
      }
    }
  }
  for (const [folder, note] of notes) {
    const copy = inventory.copies.get(folder);
    const name = parseFolder(folder);
    if (name === undefined || !note.isUnderstood || (copy !== undefined && isThere(copy, note))) continue;
    const { mac, id } = name;
    steps.push({ kind: 'finish', mac, id, folder, sizeBytes: copy ? sizeOf(copy) : 0, reasons: [], leftMs: 0 });
  }
  return steps;
}

/** How long until a noted removal may be done, counted by the store's clock. */
export function leftOf({ ageMs, graceMs }: Pick<NotedRemoval, 'ageMs' | 'graceMs'>, ownGraceMs: number): number {
  const grace = Math.max(graceMs, ownGraceMs);
  return ageMs === null ? grace : Math.max(0, grace - ageMs);
}

/** Whether a backup stays for the moment, and nobody has said that it should. */
export function isForNow(reasons: readonly Reason[]): boolean {
  return reasons.every(({ code }) => ['clock', 'obstacle', 'held', 'not-asked'].includes(code));
}

function sizeOf({ files }: StoredCopy): number {
  return [...files.values()].reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
