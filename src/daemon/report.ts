/** What people read of the daemon's work: a log line for each event that matters, and the status in one line. */

import type { LogFields, Logger } from '../log.ts';
import { looksLikeNetworkAddress } from '../serial/address.ts';
import type { EventError, EventOf, EventType, FailureKind, KeptBackup, ServiceEvent } from './event-types.ts';

/** One line for the log; undefined where an event is not worth one. */
interface Line {
  readonly level: 'error' | 'warn' | 'info' | 'debug';
  readonly message: string;
  readonly fields: LogFields;
}

/** Logs events. To be subscribed. */
export function logEvents(log: Logger): (event: ServiceEvent) => void {
  return (event) => {
    for (const { level, message, fields } of linesOf(event)) log[level](message, fields);
  };
}

/** After these the line is another one. */
const CHANGING: ReadonlySet<EventType> = new Set([
  'service-started',
  'job-queued',
  'job-started',
  'job-ended',
  'board-missing',
]);

/** The line for `systemctl status`: {@link StatusLine.onEvent} is to be subscribed. */
export class StatusLine {
  readonly #onStatus: (status: string) => void;
  readonly #waiting = new Set<number>();
  readonly #active = new Set<number>();
  #lastStatus = '';
  #backups = 0;
  #failures = 0;
  #hasStarted = false;
  #isDue = false;

  constructor(onStatus: (status: string) => void) {
    this.#onStatus = onStatus;
  }

  readonly onEvent = (event: ServiceEvent): void => {
    this.#count(event);
    if (!this.#hasStarted || !CHANGING.has(event.type) || this.#isDue) return;
    // What happens in one step is told as one.
    this.#isDue = true;
    queueMicrotask(() => this.#tell());
  };

  #tell(): void {
    this.#isDue = false;
    const active = this.#active.size;
    const boards = `${active} board${active === 1 ? '' : 's'}`;
    const waiting = this.#waiting.size === 0 ? '' : `, ${this.#waiting.size} waiting`;
    const work = active === 0 ? 'Waiting for boards' : `Working on ${boards}${waiting}`;
    const status = `${work}; ${this.#backups} backed up, ${this.#failures} failed since the start`;
    if (status === this.#lastStatus) return;
    this.#lastStatus = status;
    this.#onStatus(status);
  }

  #count(event: ServiceEvent): void {
    switch (event.type) {
      case 'service-started':
        this.#hasStarted = true;
        break;
      case 'job-queued':
        this.#waiting.add(event.job);
        break;
      case 'job-started':
        this.#waiting.delete(event.job);
        this.#active.add(event.job);
        break;
      case 'job-ended':
        this.#waiting.delete(event.job);
        this.#active.delete(event.job);
        break;
      case 'backup-kept':
      case 'backup-unchanged':
        this.#backups++;
        break;
      case 'job-failed':
        if (event.isNews && isFailure(event)) this.#failures++;
        break;
      case 'board-stuck':
        this.#failures++;
        break;
      case 'board-missing':
        if (event.into === 'download-mode') this.#failures++;
        break;
      default:
    }
  }
}

/** Neither a stop, nor silence, nor a port that somebody else has for a moment. */
function isFailure({ failure, error }: { failure: FailureKind; error: EventError }): boolean {
  return failure === 'fault' || error.code === 'half-restored';
}

function linesOf(event: ServiceEvent): Line[] {
  switch (event.type) {
    case 'service-started':
      return [line('info', 'Watching for boards', { archive: event.archive })];
    case 'port-left-alone':
      return leftAloneLines(event);
    case 'port-postponed': {
      const { port, until, why } = event;
      if (why === 'grace') return [line('debug', 'Waits for its grace', { port, until })];
      return [line('info', 'Waits for the end of the quiet hours', { port, until })];
    }
    case 'job-queued':
      return queuedLines(event);
    case 'board-away': {
      const message = 'Went away when it was reset, as boards on their own USB do; waiting for its return';
      return [line('info', message, { port: event.port })];
    }
    case 'port-flapping':
      return [line('warn', 'Left alone for some minutes: it comes and goes by itself', { port: event.port })];
    case 'line-bad':
      return [line('warn', event.error.message, { port: event.port, hint: event.error.hint })];
    case 'line-good':
      return [line('info', 'The line is good again', { port: event.port, score: event.score })];
    case 'port-held':
      return [line('info', 'Held: not touched until it is released', { port: event.port, by: event.by })];
    case 'port-released':
      return [line('info', 'Released', { port: event.port, by: event.by })];
    case 'identified':
      return [line('info', 'Identified', { port: event.port, mac: event.mac, chip: event.chip ?? undefined })];
    case 'backup-kept':
      return keptLines(event);
    case 'backup-unchanged':
      return [line('info', 'Unchanged since its last backup', keptFields(event))];
    case 'new-board':
      return [line('info', 'A new board', { port: event.port, mac: event.mac, chip: event.chip })];
    case 'job-failed':
      return failureLines(event);
    case 'board-described':
      return [line('info', 'Described anew', { mac: event.mac, label: event.label, group: event.group })];
    case 'backup-pinned':
      return [line('info', event.pinned ? 'Pinned' : 'Unpinned', { mac: event.mac, id: event.id })];
    case 'clone-done': {
      const { error, mac, port, verdict } = event;
      const fields = { port, mac: mac ?? undefined, verdict, code: error?.code, reason: error?.message };
      return [line(verdict === 'fail' ? 'error' : 'info', 'One of many boards is done', fields)];
    }
    case 'board-restored': {
      const { port, mac, from, id, sectors } = event;
      return [line('info', 'Restored and verified', { port, mac, id, from: from === mac ? undefined : from, sectors })];
    }
    case 'half-restored':
      return [line('warn', event.error.message, errorFields(event, event.error))];
    case 'board-stuck':
      return [line('error', event.error.message, errorFields(event, event.error))];
    case 'board-missing':
      return [
        line(event.into === 'download-mode' ? 'error' : 'warn', event.error.message, errorFields(event, event.error)),
      ];
    case 'archive-damaged': {
      const { file, problem, error, isDamage } = event;
      const message = isDamage ? 'The archive is damaged' : 'A part of the archive could not be read';
      return [line('error', message, { file, problem, hint: isDamage ? undefined : error.hint || undefined })];
    }
    case 'archive-verified':
      return verifiedLines(event);
    case 'disk-low': {
      const { path, freeBytes, wantedBytes } = event;
      return [line('warn', 'The disk of the archive is nearly full', { path, freeBytes, wantedBytes })];
    }
    case 'backup-removed':
      return [line('info', 'Backup removed', { mac: event.mac, id: event.id, bytes: event.sizeBytes, why: event.why })];
    case 'backup-spared':
      return [line('info', 'Backup not removed after all', { mac: event.mac, id: event.id, why: event.why })];
    case 'pruned':
      return prunedLines(event);
    case 'backup-pushed': {
      const { mac, id, sentBytes, waiting } = event;
      return [line('info', 'In the object store', { mac, id, sentBytes, waiting })];
    }
    case 'push-failed': {
      const { mac, id, error, waiting } = event;
      const fields = { mac: mac ?? undefined, id: id ?? undefined, code: error.code, hint: error.hint, waiting };
      return [line('warn', error.message, fields)];
    }
    case 'stations-heard':
      return heardLines(event);
    case 'journal-unread':
      return [line('warn', event.error.message, { station: event.station, hint: event.error.hint || undefined })];
    case 'store-damaged': {
      const { folder, file, problem, isDamage, error } = event;
      const message = isDamage
        ? 'A backup in the object store is damaged'
        : 'A backup in the object store was not judged';
      return [line('error', message, { object: `${folder}${file}`, problem, hint: error.hint || undefined })];
    }
    case 'store-verified': {
      const { checked, of, readBytes, damaged, missing, unreadable } = event;
      const counts = { checked, of, readBytes, damaged, missing, unreadable };
      const isGood = damaged + missing + unreadable === 0;
      const message = isGood
        ? 'What was read back from the object store is sound'
        : 'Not all of the object store is sound';
      return [line(isGood ? 'info' : 'error', message, counts)];
    }
    case 'store-compared':
      return comparedLines(event);
    case 'backup-imported':
      return [line('info', 'Imported', { mac: event.mac, id: event.id })];
    case 'backup-pulled': {
      const { mac, id, fetchedBytes, reusedBytes } = event;
      return [line('info', 'Fetched from the object store', { mac, id, fetchedBytes, reusedBytes })];
    }
    case 'backup-released':
      return [
        line('info', 'Local copy removed: it is in the object store', {
          ...{ mac: event.mac, id: event.id, bytes: event.sizeBytes },
        }),
      ];
    case 'store-removed':
      return [line('info', 'Removed from the object store', { mac: event.mac, id: event.id, why: event.why })];
    case 'store-pruned': {
      const { announced, removed, withdrawn, blocked, error } = event;
      if (error !== null) {
        const { code, message, hint } = error;
        return [line('error', 'The object store is not pruned', { code, reason: message, hint: hint || undefined })];
      }
      if (blocked.length > 0) return [line('warn', 'Nothing is pruned in the object store now', { reasons: blocked })];
      return [line('info', 'Object store pruned', { announced, removed, withdrawn })];
    }
    case 'config-reloaded':
      return [
        ...(event.needsRestart
          ? [
              line(
                'warn',
                'A change of archive, store, watch.folders, api or log.format takes effect when the daemon is started again',
              ),
            ]
          : []),
        line('info', 'Config reloaded'),
      ];
    case 'config-rejected':
      return [line('error', 'The config has a fault; the old one stays in force', { problem: event.problem })];
    case 'service-stopping':
      return [line('info', 'Stopping')];
    default:
      return [];
  }
}

function heardLines({ stations, boards, backups, removed, marks }: EventOf<'stations-heard'>): Line[] {
  const counts = { boards, backups: backups || undefined, removed: removed || undefined, marks: marks || undefined };
  // Sightings come all day.
  const level = backups > 0 || removed > 0 ? 'info' : 'debug';
  return [line(level, 'News of other stations', { stations: stations.slice(0, 10).join(', '), ...counts })];
}

function comparedLines({ backups, missing, again, unreadable, mended, error }: EventOf<'store-compared'>): Line[] {
  const counts = { backups, missing, again, unreadable, mended: mended || undefined };
  return error === null
    ? [line('info', 'All that should be in the object store is there', { backups, mended: counts.mended })]
    : [line('error', error.message, { ...counts, hint: error.hint })];
}

function line(level: Line['level'], message: string, fields: LogFields = {}): Line {
  return { level, message, fields };
}

function leftAloneLines({ port, reason, by, existing }: EventOf<'port-left-alone'>): Line[] {
  if (by === 'existing') return [line('info', reason, { port })];
  return [line(existing ? 'debug' : 'info', 'Left alone', { port, reason })];
}

function queuedLines({ port, product, cause, name }: EventOf<'job-queued'>): Line[] {
  if (port === null) return [];
  if (cause === 'plug-in' && name !== undefined) return [line('info', 'Looking at a remote', { port, name })];
  if (cause === 'plug-in') return [line('info', 'Plugged in', { port, product: product ?? undefined })];
  if (cause === 'retry') return [line('debug', 'Trying again', { port })];
  if (cause === 'round') return [line('info', 'Looking again', { port, name })];
  const message = cause === 'after-release' ? 'Another program has closed the port' : 'Asked for';
  return [line('info', message, { port })];
}

function keptFields({ port, mac, id, sizeBytes, flashBytesRead, wireBytes, seconds }: KeptBackup): LogFields {
  return { port, mac, id, sizeBytes, flashBytesRead, wireBytes, seconds: Number(seconds.toFixed(2)) };
}

function keptLines(event: EventOf<'backup-kept'>): Line[] {
  const { port, mac, id, sizeBytes, aliasedAtBytes } = event;
  const lines = [line('info', 'Backed up and verified', keptFields(event))];
  if (aliasedAtBytes === null) return lines;
  const fields = { port, mac, id, sizeBytes, aliasedAtBytes };
  return [...lines, line('warn', 'The flash repeats itself: it is smaller than it claims', fields)];
}

function failureLines({ kind, port, mac, error, failure, isNews, retryInMs }: EventOf<'job-failed'>): Line[] {
  if (!isNews) {
    const fields = { port: port ?? undefined, code: error.code };
    return retryInMs === null
      ? [line('info', `Left alone ${untilWhen(port)}`, fields)]
      : [line('debug', 'Still the same', { ...fields, reason: error.message })];
  }
  const next = retryInMs === null ? {} : { retry: `in ${Math.round(retryInMs / 1000)} s` };
  const fields = { ...errorFields({ port, mac }, error), ...next };
  switch (failure) {
    case 'stopped':
      return [
        line(
          'info',
          kind === 'backup'
            ? 'Stopped in the middle of a job; nothing incomplete was kept'
            : 'Stopped in the middle of a job',
          fields,
        ),
      ];
    case 'silent':
      return [
        line('info', error.message, retryInMs === null ? { ...fields, note: `left alone ${untilWhen(port)}` } : fields),
      ];
    case 'passing':
      // An event of its own tells it.
      return error.code === 'half-restored' ? [] : [line('warn', error.message, fields)];
    case 'fault':
      return [line('error', error.message, fields)];
  }
}

/** Nobody plugs in what another machine has. */
function untilWhen(port: string | null): string {
  return looksLikeNetworkAddress(port ?? '') ? 'until somebody asks for it' : 'until it is plugged in again';
}

function errorFields(
  { port, mac }: { readonly port: string | null; readonly mac: string | null },
  { code, hint }: EventError,
): LogFields {
  return { port: port ?? undefined, mac: mac ?? undefined, code, hint: hint === '' ? undefined : hint };
}

function verifiedLines({ checked, damaged, unreadable, foreign, foreignFiles }: EventOf<'archive-verified'>): Line[] {
  const verified = line('info', 'Archive verified', { checked, damaged, unreadable });
  if (foreign === 0) return [verified];
  const fields = { count: foreign, files: foreignFiles };
  return [line('warn', 'Foreign files in the archive; no backup suffers', fields), verified];
}

function prunedLines({ removed, sizeBytes, left, blocked, overBudgetBytes }: EventOf<'pruned'>): Line[] {
  if (blocked.length > 0) return [line('warn', 'Nothing is pruned now', { reasons: blocked })];
  const pruned = line('info', 'Archive pruned', { removed, bytes: sizeBytes, left });
  if (overBudgetBytes === 0) return [pruned];
  const message =
    'The archive is larger than retention.maxBytes, and all that is left is kept by a rule or never removed';
  return [line('warn', message, { bytes: overBudgetBytes }), pruned];
}
