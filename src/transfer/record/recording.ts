/**
 * A recording that is being made: lines wait in memory until a file takes them. The board never waits for that file: where
 * it is slower than the line for long, or full, the recording is given up and the job goes on.
 */

import { randomBytes } from 'node:crypto';
import type { Archive, Backup } from '../../archive/types.ts';
import type { Clock } from '../../clock.ts';
import { VERSION } from '../../version.ts';
import { looksLikeNetworkAddress, parseAddress } from '../../serial/address.ts';
import type { Link } from '../../serial/link.ts';
import type { LinkOpener, Port } from '../session.ts';
import { type KnownLine, RECORDING_VERSION, type RecordingHeader } from './format.ts';
import { knownLine, sectorLines } from './known-image.ts';
import { recordLink } from './record-link.ts';

/** What may wait for the file. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

export interface RecordingOptions {
  readonly clock: Clock;
  readonly command: string;
  readonly withPayload: boolean;
  /** What is known of the port; asked before it is opened. */
  readonly usbOf: (address: string) => Promise<Port['usb']>;
  readonly settings?: RecordingHeader['settings'];
  /** What the command line said of the work: neither files nor ports. */
  readonly asked?: RecordingHeader['options'];
}

export class RecordingTape {
  readonly #options: RecordingOptions;
  readonly #startMs: number;
  readonly #key = randomBytes(32);
  /** By board and backup. */
  readonly #images = new Map<string, Promise<Omit<KnownLine, 't'>>>();
  readonly #told = new Set<string>();
  #links = 0;
  #waiting: string[] = [];
  #waitingBytes = 0;
  #isOver = false;
  #isGivenUp = false;
  #wake: () => void = () => undefined;

  constructor(options: RecordingOptions) {
    const { asked, clock, command, settings, withPayload } = options;
    this.#options = options;
    this.#startMs = clock.now();
    const header: RecordingHeader = {
      ...{ kind: 'espd-recording', version: RECORDING_VERSION, espd: VERSION, command, payload: withPayload },
      ...(settings && { settings }),
      ...(asked && { options: asked }),
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

  /** An archive of which it is told what espd knew: see known-image.ts. */
  archive(archive: Archive): Archive {
    const own: Partial<Archive> = {
      latest: async (mac) => {
        const latest = await archive.latest(mac);
        if (latest.backup !== undefined) this.#know(archive, latest.backup, 'latest');
        return latest;
      },
      openImage: async (backup) => {
        const image = await archive.openImage(backup);
        this.#know(archive, backup, 'opened');
        return image;
      },
      verifyBackup: async (mac, id, signal) => {
        const problems = await archive.verifyBackup(mac, id, signal);
        if (problems.length > 0) return problems;
        const backup = await archive.resolveBackup(mac, id).catch(() => undefined);
        if (backup !== undefined) this.#know(archive, backup, 'verified');
        return problems;
      },
    };
    return new Proxy(archive, {
      get: (target, name) => {
        const value: unknown = Reflect.get(name in own ? own : target, name);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
  }

  /** All images have been told of; never rejects. */
  async settled(): Promise<void> {
    await Promise.allSettled(this.#images.values());
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

  /** Once in each role. A replay does without what cannot be read: nothing here is worth a failure. */
  #know(archive: Archive, backup: Backup, role: KnownLine['role']): void {
    const name = `${backup.mac} ${backup.id}`;
    if (this.#told.has(`${role} ${name}`) || this.#isOver) return;
    this.#told.add(`${role} ${name}`);
    const known = this.#images.get(name);
    if (known === undefined) this.#images.set(name, this.#tellImage(archive, backup, role, this.#images.size + 1));
    else void known.then((line) => this.#addTimed({ ...line, role })).catch(() => undefined);
  }

  async #tellImage(
    archive: Archive,
    backup: Backup,
    role: KnownLine['role'],
    number: number,
  ): Promise<Omit<KnownLine, 't'>> {
    const image = await archive.openImage(backup);
    try {
      const facts = { number, role, key: this.#key, reveal: this.#options.withPayload };
      const line = await knownLine(backup, image, facts);
      this.#addTimed(line);
      for await (const sectors of sectorLines(image, facts)) this.#addTimed(sectors);
      return line;
    } finally {
      await image.close();
    }
  }

  #addTimed(line: object): void {
    this.#add({ t: Number(((this.#options.clock.now() - this.#startMs) / 1000).toFixed(6)), ...line });
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
