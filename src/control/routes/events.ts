/** `GET /v1/events`: bounded in number; each client reads at its own speed (event-stream.ts). */

import { type Clock, whenAborted } from '../../clock.ts';
import type { EventType } from '../../daemon/event-types.ts';
import type { EventSource } from '../../daemon/events.ts';
import { VERSION } from '../../version.ts';
import { eventsQuery } from '../contract/requests.ts';
import { type StreamFormat, streamEvents } from '../event-stream.ts';
import { HttpError } from '../problem.ts';
import type { ApiRequest } from '../server.ts';
import { queryOf, validate } from '../validate.ts';

/** A wall of screens, and every command that waits; what is more is a fault of somebody's. */
const MOST_STREAMS = 256;

export class EventStreams {
  readonly #parts: { readonly clock: Clock; readonly events: EventSource };
  #count = 0;

  constructor(parts: { readonly clock: Clock; readonly events: EventSource }) {
    this.#parts = parts;
  }

  async serve({ query, request, response, signal }: ApiRequest): Promise<undefined> {
    const asked = validate(eventsQuery, queryOf(query));
    const format: StreamFormat = (request.headers.accept ?? '').includes('text/event-stream') ? 'sse' : 'ndjson';
    // https://html.spec.whatwg.org/#the-last-event-id-header: what a browser sends when it connects again.
    const last = lastEventId(request.headers['last-event-id']);
    if (this.#count >= MOST_STREAMS) {
      throw new HttpError(503, `${MOST_STREAMS} clients follow the events already`, 'Try again in a while');
    }
    response.writeHead(200, {
      'Content-Type': format === 'sse' ? 'text/event-stream; charset=utf-8' : 'application/x-ndjson; charset=utf-8',
    });
    if (request.method === 'HEAD') {
      response.end();
      return undefined;
    }
    this.#count++;
    const stop = streamEvents(
      this.#parts.events,
      {
        write: (text) => response.write(text),
        onDrain: (callback) => void response.on('drain', callback),
      },
      {
        format,
        since: last?.seq ?? asked.since,
        instance: last?.instance ?? asked.instance,
        types: asked.types === undefined ? undefined : new Set(asked.types.split(',') as EventType[]),
      },
      { clock: this.#parts.clock, version: VERSION },
    );
    try {
      await whenAborted(signal);
    } finally {
      stop();
      this.#count--;
      response.end();
    }
    return undefined;
  }
}

function lastEventId(header: string | string[] | undefined): { instance: string; seq: number } | undefined {
  const match = /^([\w-]{1,64}):(\d{1,15})$/.exec(typeof header === 'string' ? header : '');
  return match === null ? undefined : { instance: match[1] ?? '', seq: Number(match[2]) };
}
