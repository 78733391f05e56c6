/** The first step of a restore: which backup, which parts, which port. Nothing is written by it. */

import { useState } from 'preact/hooks';
import { placeOf } from '../../src/cli/station/words.ts';
import { formatSize } from '../../src/cli/text.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import { isAbout } from '../board-feed.ts';
import { nameOf } from '../board-names.ts';
import { firmwareText } from '../board/time-line.tsx';
import type { BackupRow, BoardDocument, Told } from '../documents.ts';
import { view } from '../live.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { Exactly } from '../parts/when.tsx';
import { goTo, linkTo, route } from '../route.ts';
import { asApiError, useDocument } from '../use-document.ts';
import { Steps } from './walk.tsx';

export function ChooseRestorePage({ mac }: { mac: string }) {
  const { document, error } = useDocument<BoardDocument>(`/v1/boards/${encodeURIComponent(mac)}`, isAbout(mac));
  return (
    <>
      <h1>Restore {printable(document?.board.label ?? mac)}</h1>
      <Steps at={0} />
      {error !== null && <ErrorNotice error={error} />}
      {document === undefined && error === null && <p role="status">Reading the archive…</p>}
      {document !== undefined && document.backups.length > 0 && <Choice document={document} />}
      {document !== undefined && document.backups.length === 0 && <p>There is no sound backup of this board.</p>}
    </>
  );
}

type Extent = 'all' | 'only' | 'but';

function Choice({ document: { board, backups } }: { document: BoardDocument }) {
  const wanted = route.value.query.get('at');
  const [id, setId] = useState(backups.find((one) => one.id === wanted)?.id ?? backups.at(-1)?.id ?? '');
  const [extent, setExtent] = useState<Extent>('all');
  const [names, setNames] = useState<readonly string[]>([]);
  const [to, setTo] = useState('');
  const [port, setPort] = useState(() => view.value.ports.find((one) => one.mac === board.mac)?.port ?? '');
  const [error, setError] = useState<Told | null>(null);
  const [isBusy, setBusy] = useState(false);
  const backup = backups.find((one) => one.id === id);
  const partitions = backup?.partitions ?? [];

  /** The port follows the board, where it is known. */
  const take = (text: string) => {
    setTo(text);
    const mac = text.trim() === '' ? board.mac : text.trim().toLowerCase().replaceAll('-', ':');
    setPort(view.value.ports.find((one) => one.mac === mac)?.port ?? '');
  };
  const begin = async () => {
    setBusy(true);
    try {
      const body = {
        ...{ kind: 'restore', board: board.mac, at: id },
        ...(port !== '' && { port }),
        ...(to.trim() !== '' && { to: to.trim() }),
        ...(extent === 'only' && { partitions: names }),
        ...(extent === 'but' && { keep: names }),
      };
      const { job } = await ask<{ job: number }>('/v1/jobs', { method: 'POST', body });
      goTo(linkTo(['jobs', String(job)]));
    } catch (failure) {
      setError(asApiError(failure));
      setBusy(false);
    }
  };

  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void begin();
      }}
    >
      <Backups backups={backups} id={id} onChange={setId} />
      <fieldset class="card">
        <legend>What of it</legend>
        <Radio name="extent" value="all" now={extent} onChange={setExtent} text="The whole flash" />
        {partitions.length > 0 && (
          <>
            <Radio name="extent" value="only" now={extent} onChange={setExtent} text="Only some partitions" />
            <Radio
              name="extent"
              value="but"
              now={extent}
              onChange={setExtent}
              text="All but some partitions, which stay as they are"
            />
            {extent !== 'all' && (
              <div class="row" role="group" aria-label="Partitions">
                {partitions.map(({ name }) => (
                  <label key={name} class="choice">
                    <input
                      type="checkbox"
                      checked={names.includes(name)}
                      onChange={() =>
                        setNames(names.includes(name) ? names.filter((one) => one !== name) : [...names, name])
                      }
                    />
                    {printable(name)}
                  </label>
                ))}
              </div>
            )}
          </>
        )}
      </fieldset>
      <fieldset class="card">
        <legend>Onto which board, and where it is</legend>
        <label class="field">
          Another board on purpose: its MAC (empty: this board)
          <input
            class="mono"
            list="attached"
            autocomplete="off"
            placeholder={board.mac}
            value={to}
            onInput={({ currentTarget }) => take(currentTarget.value)}
          />
        </label>
        <datalist id="attached">
          {view.value.ports
            .filter((one) => one.mac !== null && one.mac !== board.mac)
            .map((one) => (
              <option key={one.port} value={one.mac ?? ''}>
                {printable(one.port)}
              </option>
            ))}
        </datalist>
        {to.trim() !== '' && (
          <p class="notice warn">
            The image of {printable(board.label ?? board.mac)} goes onto another board, with its settings and its
            calibration. Partitions that are to stay as they are can be chosen above.
          </p>
        )}
        <label class="field">
          Port
          <select value={port} onChange={({ currentTarget }) => setPort(currentTarget.value)}>
            <option value="">Look for it: attached boards are asked who they are, which resets them</option>
            {view.value.ports.map((one) => (
              <option key={one.port} value={one.port}>
                {printable(placeOf(one))}
                {one.mac === null ? '' : ` · ${one.mac === board.mac ? 'this board' : printable(nameOf(one.mac))}`}
              </option>
            ))}
          </select>
        </label>
      </fieldset>
      {backup?.confirmed === null && (
        <p class="notice warn">No chip has confirmed this image: nobody knows whether it is whole.</p>
      )}
      {error !== null && <ErrorNotice error={error} />}
      <div class="actions">
        <button type="submit" class="primary" disabled={isBusy || (extent !== 'all' && names.length === 0)}>
          {isBusy ? 'Asking…' : 'See the plan'}
        </button>
        <a class="button" href={linkTo(['boards', board.mac])}>
          Back
        </a>
      </div>
      <p class="detail">Nothing is written yet: the plan is shown first, and wants your yes.</p>
    </form>
  );
}

function Radio<T extends string>(props: {
  name: string;
  value: T;
  now: T;
  text: string;
  onChange: (value: T) => void;
}) {
  const { name, value, now, text, onChange } = props;
  return (
    <label class="choice">
      <input type="radio" name={name} checked={now === value} onChange={() => onChange(value)} />
      {text}
    </label>
  );
}

function Backups({
  backups,
  id,
  onChange,
}: {
  backups: readonly BackupRow[];
  id: string;
  onChange: (id: string) => void;
}) {
  return (
    <fieldset class="card">
      <legend>Which backup</legend>
      <div class="backup-choice">
        {backups
          .map((backup, index) => (
            <label key={backup.id} class="choice">
              <input type="radio" name="backup" checked={backup.id === id} onChange={() => onChange(backup.id)} />
              <span>
                <Exactly at={backup.createdAt} /> · {printable(firmwareText(backup.firmware))} ·{' '}
                {formatSize(backup.sizeBytes)} {index === 0 && <span class="badge good">First</span>}{' '}
                {index === backups.length - 1 && <span class="badge">Latest</span>}
              </span>
            </label>
          ))
          .toReversed()}
      </div>
    </fieldset>
  );
}
