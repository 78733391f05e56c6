/** A port that the daemon keeps off for as long as this process is there: a request that stays open. */

import type { IncomingMessage } from 'node:http';
import { sleep } from '../clock.ts';
import { hasCode, toEspdError } from '../errors.ts';
import type { ApiClient } from './api.ts';
import { foreign } from './daemon-errors.ts';

export interface LeaseOptions {
  readonly port: string;
  /** Who holds it, for people. */
  readonly by: string;
  /** End a job of the daemon that runs there; else its end is waited for. */
  readonly now: boolean;
  readonly signal: AbortSignal;
  /** Called once where the port is not kept any more: somebody has released it, or another program has it. */
  readonly onLost: (why: string) => void;
}

export interface PortLease {
  /** Gives the port back; never rejects. */
  release(): Promise<void>;
}

/** A daemon that is started again takes about a second; then a hold is the first thing that it is asked for. */
const AGAIN_MS = 1000;

/**
 * Resolves once the port is kept free. A daemon that goes away meanwhile is asked again when it is back.
 * @throws EspdError `port-busy`, `daemon-absent` and others of {@link ApiClient.ask}; the signal's reason
 */
export async function leasePort(client: ApiClient, options: LeaseOptions): Promise<PortLease> {
  const { port, onLost } = options;
  const ended = new AbortController();
  let isOver = false;
  const first = await openLease(client, options, options.signal);
  const kept = keep(first).catch((error: unknown) => {
    if (!isOver) onLost(toEspdError(error).message);
  });
  return {
    release: async () => {
      isOver = true;
      // In order: a request that merely ends may have left its board in any state.
      await client.ask(`/v1/ports/${encodeURIComponent(port)}/hold`, { method: 'DELETE' }).catch(() => undefined);
      ended.abort();
      await kept;
    },
  };

  async function keep(open: IncomingMessage): Promise<void> {
    let response = open;
    for (;;) {
      const onEnd = () => response.destroy();
      ended.signal.addEventListener('abort', onEnd, { once: true });
      const isReleased = await readLease(response);
      ended.signal.removeEventListener('abort', onEnd);
      if (isOver) return;
      if (isReleased) {
        onLost(`${port} was released by somebody`);
        return;
      }
      response = await again();
    }
  }

  async function again(): Promise<IncomingMessage> {
    for (;;) {
      await sleep(client.clock, AGAIN_MS, ended.signal);
      try {
        return await openLease(client, options, ended.signal);
      } catch (error) {
        if (!hasCode(error, 'daemon-absent', 'daemon-gone')) throw error;
      }
    }
  }
}

async function openLease(
  client: ApiClient,
  { port, by, now }: LeaseOptions,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const question = { method: 'POST', body: { by, now }, isSlow: true, signal } as const;
  const response = await client.open(`/v1/ports/${encodeURIComponent(port)}/lease`, question);
  response.setEncoding('utf8');
  if (!/ndjson/.test(response.headers['content-type'] ?? '')) {
    response.destroy();
    throw foreign(client.path, 'does not lease ports');
  }
  return response;
}

/** Resolves when it has ended. @returns whether somebody has released the port */
async function readLease(response: IncomingMessage): Promise<boolean> {
  let last = '';
  try {
    for await (const chunk of response as AsyncIterable<string>) last = (last + chunk).slice(-256);
  } catch {
    // The daemon is gone, or nobody wants it any more.
  }
  return /\{"type":"released"\}\s*$/.test(last);
}
