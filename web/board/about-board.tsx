/** What a person calls a board and notes about it, edited in place. */

import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { formatSize, plural } from '../../src/cli/text.ts';
import { stationText } from '../../src/archive/station-text.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import type { BoardRow, Told } from '../documents.ts';
import { ErrorNotice, tell } from '../parts/notice.tsx';
import { When } from '../parts/when.tsx';
import { asApiError } from '../use-document.ts';

interface AboutBoardProps {
  readonly board: BoardRow;
  /** What all its backups take; null where that is not known (yet). */
  readonly diskBytes: number | null;
  readonly children: ComponentChildren;
}

export function AboutBoard({ board, diskBytes, children }: AboutBoardProps) {
  const [isEditing, setEditing] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const wasEditing = useRef(false);
  // The form goes with the focus in it: who uses the keyboard goes on from where the form was opened.
  useLayoutEffect(() => {
    if (wasEditing.current && !isEditing) edit.current?.focus();
    wasEditing.current = isEditing;
  }, [isEditing]);
  if (isEditing) return <Form board={board} onEnd={() => setEditing(false)} />;
  const facts = [
    board.chip,
    board.sizeBytes === null ? null : `${formatSize(board.sizeBytes)} flash`,
    board.firmware,
    plural(board.backups, 'backup'),
    board.places === null ? null : `${board.places.here} here, ${board.places.store} in the store`,
    diskBytes === null ? null : `${formatSize(diskBytes)} on the disk`,
  ];
  return (
    <header class="stack">
      <div class="heading">
        <h1>{printable(board.label ?? board.mac)}</h1>
        {board.group !== null && <span class="badge">{printable(board.group)}</span>}
        <button ref={edit} type="button" class="plain" onClick={() => setEditing(true)}>
          Edit label and note
        </button>
        {children}
      </div>
      <p class="detail">
        {board.label !== null && <span class="mono">{board.mac} · </span>}
        {facts
          .filter((fact) => fact !== null)
          .map(printable)
          .join(' · ')}{' '}
        · seen <When at={board.lastSeen} />
        {board.lastSeenBy !== null && ` by ${stationText(board.lastSeenBy)}`}
      </p>
      {board.note !== null && <p class="note">{printable(board.note)}</p>}
    </header>
  );
}

function Form({ board, onEnd }: { board: BoardRow; onEnd: () => void }) {
  const [label, setLabel] = useState(board.label ?? '');
  const [note, setNote] = useState(board.note ?? '');
  const [group, setGroup] = useState(board.group ?? '');
  const [error, setError] = useState<Told | null>(null);
  const [isBusy, setBusy] = useState(false);
  const first = useRef<HTMLInputElement>(null);
  // Before the next key: after the picture is drawn, the first letters of who types at once would be lost.
  useLayoutEffect(() => first.current?.focus(), []);
  const save = async () => {
    setBusy(true);
    try {
      const body = { label: label || null, note: note || null, group: group || null };
      await ask(`/v1/boards/${encodeURIComponent(board.mac)}`, { method: 'PATCH', body });
      tell('Saved');
      onEnd();
    } catch (failure) {
      setError(asApiError(failure));
      setBusy(false);
    }
  };
  return (
    <form
      class="card"
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
      onKeyDown={({ key }) => {
        if (key === 'Escape') onEnd();
      }}
    >
      <h1 class="mono">{board.mac}</h1>
      <label class="field">
        Label
        <input ref={first} value={label} onInput={({ currentTarget }) => setLabel(currentTarget.value)} />
      </label>
      <label class="field">
        Group
        <input value={group} onInput={({ currentTarget }) => setGroup(currentTarget.value)} />
      </label>
      <label class="field">
        Note
        <input value={note} onInput={({ currentTarget }) => setNote(currentTarget.value)} />
      </label>
      {error !== null && <ErrorNotice error={error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={isBusy}>
          Save
        </button>
        <button type="button" onClick={onEnd}>
          Cancel
        </button>
      </div>
    </form>
  );
}
