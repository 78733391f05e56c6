/** The backups of a board, the newest first: why each was made, what changed with it, what is pinned. */

import { percentOf } from '../../src/cli/station/words.ts';
import { formatSize, plural } from '../../src/cli/text.ts';
import { stationText } from '../../src/archive/station-text.ts';
import { printable } from '../../src/printable.ts';
import { ask } from '../api.ts';
import type { BackupRow, BoardDocument, ElsewhereRow, Firmware, SizesDocument } from '../documents.ts';
import { view } from '../live.ts';
import { Bar } from '../parts/bar.tsx';
import { ErrorNotice, attempt } from '../parts/notice.tsx';
import { Exactly, When } from '../parts/when.tsx';

interface TimeLineProps {
  readonly document: BoardDocument;
  /** Undefined until it is known. */
  readonly sizes: SizesDocument | undefined;
  readonly chosen: string | undefined;
  /** Ids, at most two. */
  readonly compared: readonly string[];
  readonly onChoose: (id: string) => void;
  readonly onCompare: (ids: readonly string[]) => void;
}

export function TimeLine({ document, sizes, chosen, compared, onChoose, onCompare }: TimeLineProps) {
  const { board, backups, elsewhere, removed } = document;
  const toggle = (id: string) =>
    onCompare(compared.includes(id) ? compared.filter((one) => one !== id) : [...compared, id].slice(-2));
  const onDisk = new Map(sizes?.backups.map((size) => [size.id, size.diskBytes]));
  const isPair = compared.length === 2;
  return (
    <section aria-labelledby="time-line" class="stack">
      <h2 id="time-line">Backups</h2>
      {backups.length > 1 && (
        <p class="detail" role="status">
          {compared.length === 1 ? 'Tick one more to compare both.' : 'Tick two to compare them.'}
        </p>
      )}
      {backups.length === 0 && <p>There is no sound backup of this board{elsewhere.length > 0 && ' here'}.</p>}
      <ol class="time-line" reversed>
        {backups
          .map((backup, index) => (
            <li key={backup.id} class={backup.id === chosen && !isPair ? 'chosen' : ''}>
              <div class="row">
                {backups.length > 1 && (
                  <input
                    type="checkbox"
                    checked={compared.includes(backup.id)}
                    aria-label={`Compare ${backup.id}`}
                    onChange={() => toggle(backup.id)}
                  />
                )}
                <button
                  type="button"
                  class="plain moment"
                  aria-pressed={backup.id === chosen && !isPair}
                  onClick={() => onChoose(backup.id)}
                >
                  <Exactly at={backup.createdAt} />
                </button>
              </div>
              <Facts
                backup={backup}
                diskBytes={onDisk.get(backup.id)}
                before={backups[index - 1]}
                isFirst={index === 0}
              />
              <Pin mac={board.mac} backup={backup} />
            </li>
          ))
          .toReversed()}
      </ol>
      {elsewhere.length > 0 && <Elsewhere mac={board.mac} rows={elsewhere} />}
      {removed.length > 0 && (
        <details>
          <summary>{plural(removed.length, 'backup')} removed</summary>
          <ul>
            {removed.map(({ id, at, why }) => (
              <li key={id}>
                <span class="mono">{id}</span> <When at={at} />: {printable(why)}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  );
}

function Elsewhere({ mac, rows }: { readonly mac: string; readonly rows: readonly ElsewhereRow[] }) {
  const stations = new Set(rows.map(({ station }) => station));
  const pull = view.value.jobs.findLast((job) => job.kind === 'pull' && job.mac === mac);
  const isFetching = pull?.state === 'waiting' || pull?.state === 'running';
  const fetch = (id: string) =>
    void attempt(() => ask('/v1/jobs', { method: 'POST', body: { kind: 'pull', board: mac, at: id } }));
  return (
    <>
      <h3>In the object store only</h3>
      <p class="detail" role="status">
        {isFetching
          ? 'Fetching a backup.'
          : 'Fetch one to see what is in it, or to compare it. A restore fetches what it needs by itself.'}
      </p>
      {isFetching && <Bar label="Fetching a backup" percent={percentOf(pull)} />}
      {pull?.state === 'failed' && pull.error !== null && <ErrorNotice error={pull.error} />}
      <ul class="plain-list">
        {rows.toReversed().map(({ id, station, createdAt, sizeBytes, firmware, pinned, isTaken, name }) => (
          <li key={`${id} ${station}`} class="stored">
            <strong>
              <Exactly at={createdAt} />
            </strong>
            <span class="detail">
              {formatSize(sizeBytes)} · {printable(firmwareText(firmware))} · by {stationText(station, stations)}
            </span>
            {pinned !== null && (
              <span class="badge good" title={printable(pinned.note ?? '')}>
                Pinned
              </span>
            )}
            {isTaken && <span class="badge warn">Another backup has its id here</span>}
            <button type="button" disabled={isFetching} aria-label={`Fetch ${name}`} onClick={() => fetch(name)}>
              Fetch
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

const REASONS: Readonly<Record<string, string>> = {
  'plug-in': 'plugged in',
  'by-hand': 'asked for',
  'before-restore': 'before a restore',
  imported: 'imported',
};

interface FactsProps {
  readonly backup: BackupRow;
  readonly diskBytes: number | undefined;
  readonly before: BackupRow | undefined;
  readonly isFirst: boolean;
}

function Facts({ backup, diskBytes, before, isFirst }: FactsProps) {
  const { reason, sizeBytes, seenUnchanged, firmware, stored } = backup;
  const facts = [
    reason === null ? null : (REASONS[reason] ?? reason),
    diskBytes === undefined ? formatSize(sizeBytes) : `${formatSize(sizeBytes)}, on the disk ${formatSize(diskBytes)}`,
    stored === null ? null : `also in the store, by ${stationText(stored.station)}`,
    seenUnchanged.length === 0 ? null : `seen unchanged ${plural(seenUnchanged.length, 'time')}`,
  ];
  const isOther = before !== undefined && firmwareText(before.firmware) !== firmwareText(firmware);
  return (
    <>
      <p class="detail">{facts.filter((fact) => fact !== null).join(' · ')}</p>
      {isOther ? (
        <p class="detail changed-firmware">
          {printable(firmwareText(before.firmware))} → <strong>{printable(firmwareText(firmware))}</strong>
        </p>
      ) : (
        <p class="detail cut">{printable(firmwareText(firmware))}</p>
      )}
      <p>
        {isFirst && <span class="badge good">First</span>}
        {backup.pinned !== null && (
          <span class="badge good" title={printable(backup.pinned.note ?? '')}>
            Pinned
          </span>
        )}
        {backup.confirmed === null && <span class="badge warn">No chip has confirmed it</span>}
        {backup.chipChange !== null && <span class="badge warn">Another chip</span>}
      </p>
    </>
  );
}

export function firmwareText(firmware: Firmware | null): string {
  return firmware === null ? 'Firmware unknown' : [firmware.name, firmware.version ?? ''].join(' ').trim();
}

function Pin({ mac, backup: { id, pinned } }: { mac: string; backup: BackupRow }) {
  const path = `/v1/boards/${encodeURIComponent(mac)}/backups/${encodeURIComponent(id)}`;
  const isPinned = pinned !== null;
  const text = isPinned ? 'Unpin' : 'Pin: never remove';
  return (
    <button
      type="button"
      class="plain"
      aria-label={`${text} (${id})`}
      onClick={() => void attempt(() => ask(path, { method: 'PATCH', body: { pinned: !isPinned } }))}
    >
      {text}
    </button>
  );
}
