/** What has happened, what will happen by itself, and what a policy would remove. */

import { useEffect, useMemo } from 'preact/hooks';
import { formatSize, plural } from '../../src/cli/text.ts';
import { printable } from '../../src/printable.ts';
import { isAbout } from '../board-feed.ts';
import { boardOf } from '../board-names.ts';
import type { RetentionDocument, SchedulesDocument } from '../documents.ts';
import { ErrorNotice } from '../parts/notice.tsx';
import { VirtualRows } from '../parts/virtual-rows.tsx';
import { Exactly, When } from '../parts/when.tsx';
import { linkTo, replaceQuery, route } from '../route.ts';
import { useDocument } from '../use-document.ts';
import { eventLog, followLog, past, readPastAgain } from './event-log.ts';
import { type EventWords, type Topic, wordsOf } from './event-words.ts';

export function ActivityPage() {
  useEffect(() => followLog(), []);
  return (
    <>
      <h1>Activity</h1>
      <div class="two">
        <Schedules />
        <Retention />
      </div>
      <Events />
    </>
  );
}

const SCHEDULES: Readonly<Record<string, string>> = { verify: 'Check the archive', prune: 'Remove by the policy' };

function Schedules() {
  const { document, error } = useDocument<SchedulesDocument>('/v1/schedules', ({ type }) => type === 'config-reloaded');
  return (
    <section class="card" aria-labelledby="schedules">
      <h2 id="schedules">By the clock</h2>
      {error !== null && <ErrorNotice error={error} />}
      {document?.schedules.map(({ name, cron, nextRun }) => (
        <p key={name}>
          <strong>{SCHEDULES[name] ?? printable(name)}</strong>:{' '}
          {cron === null ? (
            <span class="detail">not scheduled (schedule.{name} of the config)</span>
          ) : (
            <>
              <code>{printable(cron)}</code>
              {nextRun !== null && (
                <>
                  , next <When at={nextRun} /> (<Exactly at={nextRun} />)
                </>
              )}
            </>
          )}
        </p>
      ))}
    </section>
  );
}

/** Of longer lists the rest is counted. */
const MOST_REMOVED = 100;

function Retention() {
  const { document, error } = useDocument<RetentionDocument>('/v1/retention', isAbout(null));
  const going = document?.backups.filter(({ stays }) => !stays) ?? [];
  return (
    <section class="card" aria-labelledby="retention">
      <h2 id="retention">What the policy would remove</h2>
      {error !== null && <ErrorNotice error={error} />}
      {document === undefined && error === null && <p role="status">Looking…</p>}
      {document !== undefined && document.policy === null && (
        <p>There is no policy: nothing is ever removed. Section retention of the config sets one.</p>
      )}
      {document !== undefined && document.policy !== null && (
        <>
          <p>
            {going.length === 0
              ? 'Nothing.'
              : `${plural(going.length, 'backup')}, ${formatSize(document.freedBytes ?? 0)} of ${formatSize(document.totalBytes ?? 0)}.`}{' '}
            First and pinned backups always stay.
          </p>
          {document.blocked?.map(({ text }) => (
            <p key={text} class="notice warn">
              {printable(text)}
            </p>
          ))}
          {going.length > 0 && (
            <details>
              <summary>Each of them, and why</summary>
              <ul class="plain-list">
                {going.slice(0, MOST_REMOVED).map(({ mac, id, reasons }) => (
                  <li key={`${mac}${id}`}>
                    <a href={linkTo(['boards', mac], { at: id })}>{printable(boardOf(mac)?.label ?? mac)}</a>{' '}
                    <span class="mono">{id}</span>{' '}
                    <span class="detail">{reasons.map(({ text }) => printable(text)).join('; ')}</span>
                  </li>
                ))}
              </ul>
              {going.length > MOST_REMOVED && <p class="detail">and {going.length - MOST_REMOVED} more</p>}
            </details>
          )}
        </>
      )}
    </section>
  );
}

const TOPICS: readonly (readonly [Topic | '' | 'problem', string])[] = [
  ['', 'All'],
  ['problem', 'Problems'],
  ['board', 'Boards'],
  ['port', 'Ports'],
  ['job', 'Jobs'],
  ['archive', 'Archive'],
  ['service', 'Service'],
];
const ROW_PX = 44;

function Events() {
  const topic = route.value.query.get('topic') ?? '';
  const search = (route.value.query.get('search') ?? '').toLowerCase();
  const { value: log } = eventLog;
  const rows = useMemo(
    () =>
      log
        .map((event) => ({ event, words: wordsOf(event) }))
        .filter(({ words }) => topic === '' || words.topic === topic || (topic === 'problem' && words.isProblem))
        .filter((row) => search === '' || textOf(row).includes(search))
        .toReversed(),
    [log, topic, search],
  );
  return (
    <section class="stack" aria-labelledby="events">
      <div class="heading">
        <h2 id="events">Events</h2>
        <p class="detail" role="status">
          {plural(rows.length, 'event')}
        </p>
        <div class="row">
          <label class="field">
            Of
            <select
              value={topic}
              onChange={({ currentTarget }) => replaceQuery({ topic: currentTarget.value, search })}
            >
              {TOPICS.map(([value, name]) => (
                <option key={value} value={value}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <label class="field">
            Search
            <input
              type="search"
              placeholder="Port, MAC, text"
              value={search}
              onInput={({ currentTarget }) => replaceQuery({ topic, search: currentTarget.value })}
            />
          </label>
        </div>
      </div>
      <PastNotice />
      <VirtualRows
        role="list"
        count={rows.length}
        rowHeightPx={ROW_PX}
        render={(index) => {
          const row = rows[index];
          return row && <EventRow key={row.event.seq} {...row} />;
        }}
      />
    </section>
  );
}

/** A list that lacks something must not look as if nothing had happened. */
function PastNotice() {
  const { value } = past;
  if (value.state !== 'cut') return null;
  return (
    <div class="notice warn" role="status">
      <p>
        <strong>Events from before this page was opened are missing here.</strong>{' '}
        {value.why === '' ? 'The connection broke off while they were read.' : `${printable(value.why)}.`} The log of
        the daemon has them all: <code>journalctl -u espd</code>
      </p>
      <p>
        <button type="button" onClick={readPastAgain}>
          Read them again
        </button>
      </p>
    </div>
  );
}

interface Row {
  readonly event: (typeof eventLog.value)[number];
  readonly words: EventWords;
}

function textOf({ event, words }: Row): string {
  return `${words.title}\n${words.detail}\n${portOf(event)}\n${macOf(event)}`.toLowerCase();
}

function portOf(event: Row['event']): string {
  return 'port' in event ? (event.port ?? '') : '';
}

function macOf(event: Row['event']): string {
  return 'mac' in event ? (event.mac ?? '') : '';
}

function EventRow({ event, words }: Row) {
  const mac = macOf(event);
  return (
    <div role="listitem" class={`event ${words.isProblem ? 'problem' : ''}`}>
      <span class="detail">
        <Exactly at={event.at} />
      </span>
      <strong class="cut">{words.title}</strong>
      <span class="cut">
        {mac === '' ? (
          printable(portOf(event))
        ) : (
          <a href={linkTo(['boards', mac])}>{printable(boardOf(mac)?.label ?? mac)}</a>
        )}
      </span>
      <span class="cut" title={printable(words.detail)}>
        {printable(words.detail)}
      </span>
    </div>
  );
}
