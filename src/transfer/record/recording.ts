/**
 * A recording that is being made: lines wait in memory until a file takes them. The board never waits for that file: where
 * it is slower than the line for long, or full, the recording is given up and the job goes on.
 */

import { randomBytes } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { VERSION } from '../../version.ts';
import { looksLikeNetworkAddress, parseAddress } from '../../serial/address.ts';
import type { Link } from '../../serial/link.ts';
import type { LinkOpener, Port } from '../session.ts';
import { RECORDING_VERSION, type RecordingHeader } from './format.ts';
import { recordLink } from './record-link.ts';

/** What may wait for the file. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

export interface RecordingOptions {
  readonly clock: Clock;
  readonly command: string;
  readonly withPayload: boolean;
  /** What is known of the port; asked before it is opened. */
  readonly usbOf: (address: string) => Promise<Port['usb']>;
}

export class RecordingTape {
  readonly #options: RecordingOptions;
  readonly #startMs: number;
  readonly #key = randomBytes(32);
  #links = 0;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #isOver = false;
  #isGivenUp = false;
  #wake: () => void = () => undefined;

  constructor(options: RecordingOptions) {
    const { clock, command, withPayload } = options;
    this.#options = options;
    this.#startMs = clock.now();
    const header: RecordingHeader = {
      ...{ kind: 'espd-recording', version: RECORDING_VERSION, espd: VERSION, command, payload: withPayload },
    };
    this.#add(header);
  }

  /** It could not be written as fast as it came. */
  get isGivenUp(): boolean {
    return this.#isGivenUp;
  }

  /** Opens links as `open` does, and records them. */
  opener(open: LinkOpener): LinkOpener {
    return async (address, options) => {
      const usb = await this.#options.usbOf(address).catch(() => null);
      return this.#record(await open(address, options), address, usb);
    };
  }

  /** All of it, as it comes; to be taken once. Ends after {@link end}, or when it was given up. */
  async *content(): AsyncGenerator<string> {
    try {
      for (;;) {
        const text = this.#waiting.join('');
        this.#waiting = [];
        this.#waitingBytes = 0;
        if (text !== '') yield text;
        else if (this.#isOver) return;
        else await new Promise<void>((resolve) => (this.#wake = resolve));
      }
    } finally {
      // Nobody takes it any more: nothing is to pile up.
      this.#isOver = true;
      this.#waiting = [];
    }
  }

  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  #record(link: Link, address: string, usb: Port['usb']): Link {
    const { clock, withPayload } = this.#options;
    return recordLink(link, {
      ...{ clock, withPayload, startMs: this.#startMs, key: this.#key, number: ++this.#links },
      transport: looksLikeNetworkAddress(address) ? parseAddress(address).kind : 'device',
      // A serial number is a MAC on boards with their own USB, and says nothing that the conversation does not.
      usb: usb === null ? null : { vendorId: usb.vendorId, productId: usb.productId },
      onLine: (line) => this.#add(line),
    });
  }

  #add(line: object): void {
    if (this.#isOver) return;
    const text = `${JSON.stringify(line)}\n`;
    this.#waiting.push(text);
    this.#waitingBytes += text.length;
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#isGivenUp = true;
      this.#isOver = true;
      this.#waiting = [];
    }
    this.#wake();
  }
}
