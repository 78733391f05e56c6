/**
 * The station followed without polling: its state once, then every event after it, for as long as somebody listens. When
 * events were missed, or another daemon answers, the state comes anew; while none answers, it is waited for.
 */

import type { IncomingMessage } from 'node:http';
import { sleep } from '../clock.ts';
import type { ServiceEvent } from '../daemon/event-types.ts';
import type { EspdError } from '../errors.ts';
import { toEspdError } from '../errors.ts';
import type { ApiClient } from './api.ts';
import { foreign, silent } from './daemon-errors.ts';
import type { StatusDocument } from './status-document.ts';

/** One thing that a follower learns. */
export type Followed =
  /** Everything before it counts no more. `missed`: events happened that nobody will tell. */
  | { readonly kind: 'state'; readonly status: StatusDocument; readonly missed: boolean }
  | { readonly kind: 'event'; readonly event: ServiceEvent }
  /** Told once; `state` or `back` follows when a daemon answers again. */
  | { readonly kind: 'gone'; readonly error: EspdError }
  /** The same daemon again, and nothing was missed. */
  | { readonly kind: 'back' };

/** Three heartbeats of the daemon's stream (control/event-stream.ts: 15 s). */
const SILENCE_MS = 45_000;
/** The first try comes at once; a daemon that starts needs about a second. */
const RETRY_MS = [250, 500, 1000, 2000] as const;
/** An event is one line; the largest of them hold some hundred file names. */
const MAX_LINE_CHARACTERS = 1024 * 1024;

/**
 * Ends only by the signal, whose reason it throws, or when the caller leaves the loop.
 * @throws EspdError where no daemon answers at the beginning
 */
export async function* followStation(client: ApiClient, signal: AbortSignal): AsyncGenerator<Followed, never> {
  let status = await client.status(signal);
  yield { kind: 'state', status, missed: false };
  let at = { instance: status.instance, seq: status.lastSeq };
  for (let failures = 0; ;) {
    let isGone = failures > 0;
    try {
      for await (const line of eventLines(client, at, signal)) {
        if (line['type'] === 'hello' && line['instance'] === at.instance) {
          if (isGone) yield { kind: 'back' };
          [failures, isGone] = [0, false];
        } else if (line['type'] === 'hello' || line['type'] === 'gap') {
          status = await client.status(signal);
          at = { instance: status.instance, seq: status.lastSeq };
          [failures, isGone] = [0, false];
          yield { kind: 'state', status, missed: true };
          // The stream goes on somewhere before or after that state: a new one begins right at it.
          break;
        } else if (isEvent(line) && line.seq > at.seq) {
          at = { ...at, seq: line.seq };
          yield { kind: 'event', event: line };
        }
      }
      continue;
    } catch (error) {
      signal.throwIfAborted();
      if (!isGone && failures === 0) yield { kind: 'gone', error: toEspdError(error) };
    }
    await sleep(client.clock, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 0, signal);
    failures++;
  }
}

/** The lines of one connection, each a JSON object. @throws EspdError when it ends, which it never does by itself */
async function* eventLines(
  client: ApiClient,
  { instance, seq }: { readonly instance: string; readonly seq: number },
  signal: AbortSignal,
): AsyncGenerator<Readonly<Record<string, unknown>>, never> {
  const query = new URLSearchParams({ since: String(seq), instance });
  const response = await client.open(`/v1/events?${query.toString()}`, { signal });
  let cancel: () => void = () => undefined;
  try {
    for await (const line of linesOf(client, response, (wait) => (cancel = wait))) yield line;
    throw client.errorFrom(new Error('The stream of events ended'));
  } catch (error) {
    signal.throwIfAborted();
    throw client.errorFrom(error);
  } finally {
    cancel();
    response.destroy();
  }
}

async function* linesOf(
  client: ApiClient,
  response: IncomingMessage,
  onWait: (cancel: () => void) => void,
): AsyncGenerator<Readonly<Record<string, unknown>>> {
  response.setEncoding('utf8');
  let cancel: () => void = () => undefined;
  const wait = () => {
    cancel();
    cancel = client.clock.schedule(SILENCE_MS, () => response.destroy(silent(client.path)));
    onWait(cancel);
  };
  wait();
  let rest = '';
  for await (const chunk of response as AsyncIterable<string>) {
    wait();
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE_CHARACTERS) throw foreign(client.path, 'tells an event without end');
    for (const line of lines) {
      const value = objectOf(line);
      if (value === undefined) throw foreign(client.path, 'tells events that are no JSON');
      yield value;
    }
  }
}

function objectOf(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, unknown>>;
  } catch {
    // No JSON.
  }
  return undefined;
}

/** Of a type that this espd knows, or of one that a newer daemon has: whoever does not know it leaves it aside. */
function isEvent(line: object): line is ServiceEvent {
  const { type, seq, at } = line as Partial<ServiceEvent>;
  return typeof type === 'string' && Number.isSafeInteger(seq) && typeof at === 'string';
}
