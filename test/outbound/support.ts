/** A bus with a virtual clock, and events as the service tells them. */

import type { EventError, KeptBackup } from '../../src/daemon/event-types.ts';
import { EventBus } from '../../src/daemon/events.ts';
import type { LogFields, Logger } from '../../src/log.ts';
import { silentLogger } from '../../src/log.ts';
import { parseMac } from '../../src/mac.ts';
import { VirtualClock } from '../../src/simulator/index.ts';

export const PORT = '/dev/ttyUSB0';

export function newBus() {
  const clock = new VirtualClock({ automatic: false });
  return { clock, bus: new EventBus({ clock, log: silentLogger }, 'instance') };
}

export function macNumber(n: number) {
  return parseMac(n.toString(16).padStart(12, '0'))!;
}

export const FAULT: EventError = { code: 'read-failed', message: 'A region could not be read', hint: '' };

export function kept(changes: Partial<KeptBackup> = {}) {
  return {
    ...{ job: 1, port: PORT, mac: macNumber(1), id: '2026-11-23T10-00-00Z', chip: 'ESP32-C3', sizeBytes: 4 << 20 },
    ...{ flashBytesRead: 1000, wireBytes: 600, seconds: 3.5, retries: 2, baudRate: 921_600 },
    firmware: { name: 'tasmota', version: '14.3.0' },
    ...changes,
  };
}

export function keptEvent(changes: Partial<KeptBackup> = {}) {
  return { type: 'backup-kept', ...kept(changes), aliasedAtBytes: null } as const;
}

export function failedEvent(changes: { isNews?: boolean; failure?: 'stopped' | 'fault'; mac?: number } = {}) {
  const { isNews = true, failure = 'fault', mac = 1 } = changes;
  return {
    type: 'job-failed',
    job: 1,
    kind: 'backup',
    port: PORT,
    mac: macNumber(mac),
    error: FAULT,
    failure,
    isNews,
    retryInMs: null,
  } as const;
}

export function collectingLog() {
  const lines: { level: string; message: string; fields: LogFields }[] = [];
  const at =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      lines.push({ level, message, fields });
  const log: Logger = {
    error: at('error'),
    warn: at('warn'),
    info: at('info'),
    debug: at('debug'),
    child: () => log,
  };
  return { lines, log };
}

/** Waits in real time until it is so; the test's own time limit ends what never comes. */
export async function until(isSo: () => boolean): Promise<void> {
  const end = performance.now() + 50_000;
  while (!isSo()) {
    // Also after its test has given up: what polls for ever keeps the whole file from ending.
    if (performance.now() > end) throw new Error(`never: ${String(isSo)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
