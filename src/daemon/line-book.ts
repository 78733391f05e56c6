/** What the jobs tell of each USB socket's line, kept across restarts; told when a line has become bad, or good again. */

import type { Logger } from '../log.ts';
import { slotKey } from '../plugs/slots.ts';
import {
  type LineResult,
  type LineResults,
  addResult,
  adviceFor,
  readLineResults,
  scoreOf,
  scoreText,
  writeLineResults,
} from '../transfer/line-scores.ts';
import type { EventBody, ServiceEvent } from './event-types.ts';
import type { RecordStore } from './unfinished.ts';

/** What the wire can be the cause of. */
const LINE_CODES: readonly string[] = [
  'port-vanished',
  'port-failed',
  'chip-timeout',
  'digest-mismatch',
  'read-failed',
];

export class LineBook {
  readonly #archive: RecordStore;
  readonly #emit: (event: EventBody) => void;
  #results: LineResults = new Map();
  /** By port: the place that it is plugged in. */
  readonly #sockets = new Map<string, string>();
  readonly #bad = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  constructor(parts: {
    readonly archive: RecordStore;
    readonly emit: (event: EventBody) => void;
    readonly log: Logger;
  }) {
    this.#archive = parts.archive;
    this.#emit = parts.emit;
  }

  /** What the daemon before has learned; never rejects. */
  async load(): Promise<void> {
    const before = await readLineResults(this.#archive.cache);
    let all = before;
    // Should something have happened already.
    for (const [socket, list] of this.#results) for (const result of list) all = addResult(all, socket, result);
    this.#results = all;
  }

  /** Resolves when all is written. */
  close(): Promise<void> {
    return this.#last;
  }

  /** To be subscribed. */
  readonly onEvent = (event: ServiceEvent): void => {
    switch (event.type) {
      case 'port-attached': {
        const { port: address, usb } = event;
        if (usb !== null && usb.location !== null) this.#sockets.set(address, slotKey({ address, usb }));
        else this.#sockets.delete(address);
        return;
      }
      case 'backup-kept':
      case 'backup-unchanged':
        this.#add(event.port, { mac: event.mac, retries: event.retries, isLost: false });
        return;
      case 'port-flapping':
        this.#add(event.port, { mac: null, retries: 0, isLost: true });
        return;
      case 'job-failed':
        if (event.port === null || event.job === null || !LINE_CODES.includes(event.error.code)) return;
        // A person who pulls the cable is no fault of the line: so much is known only of a port that is still there.
        if (event.error.code === 'port-vanished' && event.retryInMs === null) return;
        this.#add(event.port, { mac: event.mac, retries: 0, isLost: true });
        return;
      default:
    }
  };

  #add(port: string, result: LineResult): void {
    const socket = this.#sockets.get(port);
    if (socket === undefined) return;
    this.#results = addResult(this.#results, socket, result);
    const results = this.#results;
    // Where the archive's disk is not mounted, nothing may begin in its mount point.
    this.#last = this.#last.then(() =>
      this.#archive.checkReadable().then(
        () => writeLineResults(this.#archive.cache, results),
        () => undefined,
      ),
    );
    const score = scoreOf(results, socket);
    if (score === undefined || score.isBad === this.#bad.has(socket)) return;
    if (!score.isBad) {
      this.#bad.delete(socket);
      this.#emit({ type: 'line-good', socket, port, score: score.score });
      return;
    }
    this.#bad.add(socket);
    const error = { code: 'bad-line', message: scoreText(score), hint: adviceFor(score) } as const;
    this.#emit({ type: 'line-bad', socket, port, score: score.score, blame: score.blame, error });
  }
}
