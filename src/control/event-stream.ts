/**
 * Events to a client that reads at its own speed: it has a place in the bus's ring, and gets what comes after it when
 * there is room in its socket. So a slow client costs nobody anything; one that is too slow is told that it missed some.
 */

import type { Clock } from '../clock.ts';
import type { EventType, ServiceEvent } from '../daemon/event-types.ts';
import type { EventSource } from '../daemon/events.ts';

/** How events are written: a JSON object a line, or Server-Sent Events (https://html.spec.whatwg.org/#server-sent-events). */
export type StreamFormat = 'ndjson' | 'sse';

export interface StreamOptions {
  readonly format: StreamFormat;
  /** Go on after this event; undefined = only what comes from now on. */
  readonly since: number | undefined;
  /** The instance that `since` is of; undefined = the one that runs. */
  readonly instance: string | undefined;
  /** Only these; undefined = all. Numbers then have gaps that mean nothing. */
  readonly types: ReadonlySet<EventType> | undefined;
}

/** A socket as it is written to. */
export interface StreamTarget {
  /** False = there is no room for more for now: `onDrain` is called when there is. */
  write(text: string): boolean;
  onDrain(callback: () => void): void;
}

/** Without events a client hears something this often, so that both sides notice when the other is gone. */
export const HEARTBEAT_MS = 15_000;

/**
 * Writes events until the function that is returned is called.
 *
 * The first object says who speaks: `{"type": "hello", "instance", "lastSeq", "version"}`. Where events were missed,
 * `{"type": "gap", "instance", "from"}` says that the next is number `from`: the client has to look at the state anew.
 */
export function streamEvents(
  source: EventSource,
  target: StreamTarget,
  options: StreamOptions,
  parts: { readonly clock: Clock; readonly version: string },
): () => void {
  const { format, types } = options;
  const { instance } = source;
  const { since } = options;
  // A number that is still to come is of another instance, whether the client says so or not.
  const isAhead = since !== undefined && since > source.lastSeq;
  const isOther = isAhead || (options.instance !== undefined && options.instance !== instance);
  /** Number of the last event that was written. */
  let sent = isOther ? -1 : (since ?? source.lastSeq);
  let isFull = false;
  let isOver = false;
  /** Asked as a function: both change while something is written. */
  const mayWrite = () => !isFull && !isOver;
  let cancelHeartbeat: () => void = () => undefined;

  const write = (text: string) => {
    if (!target.write(text)) isFull = true;
    cancelHeartbeat();
    cancelHeartbeat = parts.clock.schedule(HEARTBEAT_MS, () => {
      if (mayWrite()) write(format === 'sse' ? ': alive\n\n' : '{"type":"alive"}\n');
    });
  };
  const tell = (value: object, seq: number) => {
    const json = JSON.stringify(value);
    write(format === 'sse' ? `id: ${instance}:${seq}\ndata: ${json}\n\n` : `${json}\n`);
  };
  const pump = () => {
    while (mayWrite() && sent < source.lastSeq) {
      const { events, isComplete } = source.since(sent);
      const [first] = events;
      if (first === undefined) return;
      if (!isComplete) {
        sent = first.seq - 1;
        tell({ type: 'gap', instance, from: first.seq }, sent);
        continue;
      }
      for (const event of events) {
        if (!mayWrite()) break;
        sent = event.seq;
        if (isWanted(event)) tell(event, event.seq);
      }
    }
  };
  const isWanted = ({ type }: ServiceEvent) => types === undefined || types.has(type);
  const onDrain = () => {
    isFull = false;
    pump();
  };
  target.onDrain(onDrain);
  tell({ type: 'hello', instance, lastSeq: source.lastSeq, version: parts.version }, Math.max(0, sent));
  const leave = source.subscribe(() => pump());
  pump();
  return () => {
    isOver = true;
    leave();
    cancelHeartbeat();
  };
}
