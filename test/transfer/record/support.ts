/** Conversations with simulated boards, recorded and played again. */

import { VirtualClock } from '../../../src/simulator/index.ts';
import type { Link } from '../../../src/serial/link.ts';
import { type RecordingLine, parseRecording } from '../../../src/transfer/record/format.ts';
import { recordLink } from '../../../src/transfer/record/record-link.ts';
import { ReplayLink } from '../../../src/transfer/record/replay-link.ts';
import type { Bench } from '../support.ts';

export const KEY = Buffer.alloc(32, 7);

export class Recorder {
  readonly lines: RecordingLine[] = [];
  readonly #clock: VirtualClock;
  readonly #withPayload: boolean;
  #links = 0;

  constructor(bench: Bench, withPayload = false) {
    this.#clock = bench.clock;
    this.#withPayload = withPayload;
  }

  readonly through = (link: Link): Link =>
    recordLink(link, {
      ...{ clock: this.#clock, startMs: 0, number: ++this.#links, key: KEY, withPayload: this.#withPayload },
      ...{ transport: 'device', usb: null, onLine: (line) => this.lines.push(line) },
    });

  /** As a file holds it. */
  get text(): string {
    return this.lines.map((line) => `${JSON.stringify(line)}\n`).join('');
  }
}

/** What `through` of a job takes: the recorded chip instead of the board. */
export function replayOf(bench: Bench, text: string, link = 1): ReplayLink {
  const { lines } = parseRecording(text);
  return new ReplayLink({ clock: bench.clock, lines: lines.filter((line) => (line.link ?? 1) === link) });
}
