/**
 * `POST /v1/ports/{port}/lease`: a hold for a program that may be killed at any moment. It lasts as long as its request:
 * whatever ends the client closes the connection.
 */

import { type Clock, whenAborted } from '../../clock.ts';
import type { Daemon } from '../../daemon/daemon.ts';
import type { EventSource } from '../../daemon/events.ts';
import { leaseRequest } from '../contract/requests.ts';
import { HEARTBEAT_MS } from '../event-stream.ts';
import type { ApiRequest } from '../server.ts';
import { validate } from '../validate.ts';

export interface LeaseParts {
  readonly clock: Clock;
  readonly daemon: Pick<Daemon, 'take'>;
  readonly events: EventSource;
}

/**
 * Writes `{"type": "held", "port", "by"}` once the port is free, `{"type": "alive"}` from time to time, and
 * `{"type": "released"}` where somebody has released the port. A client that goes before that may have left its board in
 * download mode: the daemon looks at it.
 * @throws EspdError `port-busy`
 */
export async function serveLease(
  { clock, daemon, events }: LeaseParts,
  { params, body, response, signal }: ApiRequest,
): Promise<undefined> {
  const { by, now } = validate(leaseRequest, (await body()) ?? {});
  const taken = await daemon.take(params['port'] ?? '', { by, now, signal });
  const { port } = taken.hold;
  const released = new AbortController();
  const leave = events.subscribe((event) => {
    if (event.type === 'port-released' && event.port === port) released.abort();
  });
  let cancel: () => void = () => undefined;
  const tell = (value: object) => {
    response.write(`${JSON.stringify(value)}\n`);
    cancel();
    cancel = clock.schedule(HEARTBEAT_MS, () => tell({ type: 'alive' }));
  };
  response.writeHead(200, { 'Content-Type': 'application/x-ndjson; charset=utf-8' });
  tell({ type: 'held', port, by });
  try {
    await whenAborted(AbortSignal.any([signal, released.signal]));
    if (released.signal.aborted) tell({ type: 'released' });
  } finally {
    leave();
    cancel();
    if (!released.signal.aborted) taken.giveBack('lost');
    response.end();
  }
  return undefined;
}
