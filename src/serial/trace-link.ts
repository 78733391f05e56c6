/** Records the conversation on a link for a bug report: one JSON object a line. The bytes of flash are in it. */

import type { Clock } from '../clock.ts';
import type { ControlLines, Link } from './link.ts';

/** Where trace lines go: a stream, or anything else with a `write`. */
export interface TraceSink {
  write(line: string): unknown;
}

/**
 * One line of a trace. `t` is seconds since the trace began; `dir` names the sender. Besides bytes (`hex`) there are
 * changes of the lines and the rate, purges, and the end.
 */
export type TraceRecord = { readonly t: number; readonly dir: 'host' | 'chip' } & (
  | { readonly hex: string }
  | { readonly lines: ControlLines }
  | { readonly baudRate: number }
  | { readonly purge: true }
  | { readonly closed: true }
  /** A call that failed: name of the call, and the message. */
  | { readonly failed: string; readonly error: string }
);

type TraceEvent = TraceRecord extends infer R ? (R extends TraceRecord ? Omit<R, 't' | 'dir'> : never) : never;

/** A link that behaves as `link` does and writes what crosses it to `sink`. */
export function traceLink(link: Link, sink: TraceSink, clock: Clock): Link {
  const startMs = clock.now();
  const record = (dir: 'host' | 'chip', event: TraceEvent) => {
    const t = Number(((clock.now() - startMs) / 1000).toFixed(6));
    sink.write(`${JSON.stringify({ t, dir, ...event })}\n`);
  };
  const noting = async <T>(call: string, dir: 'host' | 'chip', work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      record(dir, { failed: call, error: error instanceof Error ? error.message : String(error) });
      throw error;
    }
  };
  const canDoBaudRate = link.canDoBaudRate?.bind(link);
  return {
    ...(canDoBaudRate && { canDoBaudRate }),
    get address() {
      return link.address;
    },
    get capabilities() {
      return link.capabilities;
    },
    get baudRate() {
      return link.baudRate;
    },
    get isOpen() {
      return link.isOpen;
    },
    write(data) {
      record('host', { hex: Buffer.from(data.buffer, data.byteOffset, data.length).toString('hex') });
      return noting('write', 'host', link.write(data));
    },
    async read(timeoutMs, signal) {
      const chunk = await noting('read', 'chip', link.read(timeoutMs, signal));
      if (chunk !== null) record('chip', { hex: chunk.toString('hex') });
      return chunk;
    },
    purge() {
      record('host', { purge: true });
      return noting('purge', 'host', link.purge());
    },
    setBaudRate(baudRate) {
      record('host', { baudRate });
      return noting('setBaudRate', 'host', link.setBaudRate(baudRate));
    },
    setControlLines(lines) {
      record('host', { lines: { dtr: lines.dtr, rts: lines.rts } });
      return noting('setControlLines', 'host', link.setControlLines(lines));
    },
    async close() {
      record('host', { closed: true });
      await link.close();
    },
  };
}
