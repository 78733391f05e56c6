/** What undo goes back to, by what is on record of a board. */

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { idFromDate } from '../../src/archive/ids.ts';
import type { CompletedRestore } from '../../src/archive/restores.ts';
import { type PastBackup, type UndoChoice, undoChoice } from '../../src/archive/undo.ts';
import { parseMac } from '../../src/mac.ts';

const mac = parseMac('50:02:91:c3:37:a5')!;
const other = parseMac('24:0a:c4:12:45:56')!;
const [A, B, C, D] = ['2026-11-01T00-00-00Z', '2026-11-02T00-00-00Z', '2026-11-03T00-00-00Z', '2026-11-05T00-00-00Z'];

/** At noon of 4 November 2026. */
function restore(from: string, snapshot: string | null, more: Partial<CompletedRestore> = {}): CompletedRestore {
  return {
    at: '2026-11-04T12:00:00Z',
    from: { mac, id: from },
    snapshot,
    snapshotIsNew: true,
    partial: false,
    ...more,
  };
}

/** `A:x` is backup A with the content x; `A:?` cannot be understood. */
function past(...texts: string[]): PastBackup[] {
  return texts.map((text) => {
    const at = text.lastIndexOf(':');
    const content = text.slice(at + 1);
    return { id: text.slice(0, at), sha256: content === '?' ? null : content };
  });
}

/** The choice, short. */
function told(choice: UndoChoice): string {
  switch (choice.kind) {
    case 'restore':
      return `restore ${choice.id} since ${choice.since.length}`;
    case 'change':
      return `change ${choice.id} to ${choice.changed}`;
    case 'gone':
    case 'damaged':
      return `${choice.kind} ${choice.id}`;
    case 'not-kept':
      return choice.kind;
    case 'nothing':
      return `nothing of ${choice.backups}`;
  }
}

describe('undo goes back to', () => {
  const cases: [string, PastBackup[], CompletedRestore[], string][] = [
    ['nothing, without a backup', [], [], 'nothing of 0'],
    ['nothing, with one backup', past(`${A}:x`), [], 'nothing of 1'],
    ['nothing, where all hold the same', past(`${A}:x`, `${B}:x`), [], 'nothing of 2'],
    ['the one before the newest', past(`${A}:x`, `${B}:y`), [], `change ${A} to ${B}`],
    ['the newest that differs', past(`${A}:x`, `${B}:y`, `${C}:y`), [], `change ${A} to ${B}`],
    [
      'the one before, though an older one is as the newest',
      past(`${A}:y`, `${B}:x`, `${C}:y`),
      [],
      `change ${B} to ${C}`,
    ],
    ['none, where the newest is damaged', past(`${A}:x`, `${B}:?`), [], `damaged ${B}`],
    ['a damaged one, which is never passed over', past(`${A}:x`, `${B}:?`, `${C}:y`), [], `change ${B} to ${C}`],
    ['before the restore', past(`${A}:x`, `${C}:y`), [restore(A, C)], `restore ${C} since 0`],
    [
      'before the restore, though the app has written since',
      past(`${A}:x`, `${C}:y`, `${D}:z`),
      [restore(A, C)],
      `restore ${C} since 1`,
    ],
    [
      'before the restore, where nothing new was kept',
      past(`${A}:x`, `${B}:y`),
      [restore(A, B, { snapshotIsNew: false })],
      `restore ${B} since 0`,
    ],
    [
      'before the restore of another board',
      past(`${C}:y`),
      [restore(A, C, { from: { mac: other, id: A } })],
      `restore ${C} since 0`,
    ],
    [
      'before the restore of a part',
      past(`${A}:x`, `${C}:y`),
      [restore(A, C, { partial: true })],
      `restore ${C} since 0`,
    ],
    [
      'before the last of several restores',
      past(`${A}:x`, `${B}:y`, `${C}:z`),
      [restore(A, B), restore(B, C)],
      `restore ${C} since 0`,
    ],
    [
      'where it was, after an undo',
      past(`${A}:x`, `${C}:y`),
      [restore(A, C), restore(C, A, { snapshotIsNew: false })],
      `restore ${A} since 0`,
    ],
    ['nothing, where it was not kept', past(`${A}:x`, `${B}:y`), [restore(A, null)], 'not-kept'],
    [
      'nothing, where it was not kept the last time',
      past(`${A}:x`, `${C}:y`),
      [restore(A, C), restore(C, null)],
      'not-kept',
    ],
    ['nothing, where it was removed', past(`${A}:x`, `${B}:y`), [restore(A, C)], `gone ${C}`],
    ['nothing, where all was removed', [], [restore(A, C)], `gone ${C}`],
  ];
  for (const [what, backups, restores, expected] of cases) {
    it(what, () => {
      assert.equal(told(undoChoice(backups, restores)), expected);
    });
  }

  it('names the backups that were made after the restore, and not the snapshot', () => {
    const choice = undoChoice(past(`${A}:x`, `${C}:y`, `${D}:z`), [restore(A, C)]);
    assert.ok(choice.kind === 'restore');
    assert.deepEqual(choice.since, [D]);
  });
});

/** A board and its archive, as the commands keep them: a content is a number. */
class Model {
  readonly backups: PastBackup[] = [];
  readonly restores: CompletedRestore[] = [];
  content = 0;
  #seconds = 0;
  #contents = 0;

  /** What a plug-in or a snapshot does: a new backup where the newest is another. */
  backUp(): { id: string; isNew: boolean } {
    const sha256 = String(this.content);
    const known = this.backups.findLast((backup) => backup.sha256 === sha256);
    if (known !== undefined) return { id: known.id, isNew: false };
    const id = idFromDate(new Date(Date.UTC(2026, 0, 1, 0, 0, ++this.#seconds)));
    this.backups.push({ id, sha256 });
    return { id, isNew: true };
  }

  change(): void {
    this.content = ++this.#contents;
  }

  restore(id: string): void {
    const wanted = Number(this.backups.find((backup) => backup.id === id)?.sha256);
    if (wanted === this.content) return; // nothing is written, and nothing noted
    const { id: snapshot, isNew } = this.backUp();
    this.content = wanted;
    const at = new Date(Date.UTC(2026, 0, 1, 0, 0, ++this.#seconds)).toISOString();
    this.restores.push({ at, from: { mac, id }, snapshot, snapshotIsNew: isNew, partial: false });
  }

  undo(): boolean {
    const choice = undoChoice(this.backups, this.restores);
    if (choice.kind !== 'restore' && choice.kind !== 'change') return false;
    this.restore(choice.id);
    return true;
  }
}

const steps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constantFrom('backUp' as const, 'change' as const, 'undo' as const) }),
    fc.record({ kind: fc.constant('restore' as const), index: fc.nat(20) }),
  ),
  { maxLength: 25 },
);

function modelAfter(all: typeof steps extends fc.Arbitrary<infer T> ? T : never): Model {
  const model = new Model();
  model.backUp();
  for (const step of all) {
    if (step.kind === 'restore') model.restore(model.backups[step.index % model.backups.length]!.id);
    else model[step.kind]();
  }
  return model;
}

describe('undo, whatever happened before,', () => {
  it('right after a restore brings back what was there before it, app and plug-ins or not', () => {
    fc.assert(
      fc.property(steps, fc.nat(20), fc.boolean(), (all, index, runs) => {
        const model = modelAfter(all);
        const before = model.content;
        const { id } = model.backups[index % model.backups.length]!;
        const restores = model.restores.length;
        model.restore(id);
        if (model.restores.length === restores) return;
        if (runs) {
          model.change();
          model.backUp();
        }
        assert.ok(model.undo());
        assert.equal(model.content, before);
      }),
    );
  });

  it('done twice changes nothing, and loses nothing', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const model = modelAfter(all);
        model.backUp();
        const [before, kept] = [model.content, model.backups.length];
        const restores = model.restores.length;
        if (!model.undo() || model.restores.length === restores) return;
        assert.notEqual(model.content, before);
        assert.ok(model.undo());
        assert.equal(model.content, before);
        assert.equal(model.backups.length, kept);
      }),
    );
  });

  it('without a restore on record never names the newest content, and only what is there', () => {
    const contents = fc.array(fc.option(fc.constantFrom('x', 'y', 'z'), { nil: null }), { maxLength: 12 });
    fc.assert(
      fc.property(contents, (all) => {
        const backups = all.map((sha256, index) => ({ id: idFromDate(new Date(index * 1000)), sha256 }));
        const choice = undoChoice(backups, []);
        const newest = backups.at(-1);
        if (choice.kind === 'change') {
          const chosen = backups.findIndex(({ id }) => id === choice.id);
          assert.notEqual(backups[chosen]!.sha256, newest!.sha256);
          assert.ok(backups.slice(chosen + 1).every(({ sha256 }) => sha256 === newest!.sha256));
          assert.equal(backups[chosen + 1]!.id, choice.changed);
        } else {
          assert.ok(choice.kind === 'damaged' ? newest!.sha256 === null : choice.kind === 'nothing');
          if (choice.kind === 'nothing') assert.ok(backups.every(({ sha256 }) => sha256 === newest?.sha256));
        }
      }),
    );
  });
});
