/** A link that behaves as the one beneath, and tells what crosses it, frame by frame. */

import type { Clock } from '../../clock.ts';
import { EspdError, systemCode } from '../../errors.ts';
import { SlipDecoder } from '../../esp/slip.ts';
import type { Link } from '../../serial/link.ts';
import { onlyRomText } from './boot-text.ts';
import type { FrameLine, PortLine, RecordingLine } from './format.ts';
import { Secrets } from './secrets.ts';

/** The longest frame that any loader sends or takes is shorter. */
const MAX_FRAME_BYTES = 65_536;
/** So much text without an end of line is judged as it is. */
const MAX_TEXT_BYTES = 4096;

/** `Omit` of each member of a union. */
type Without<L, K extends PropertyKey> = L extends unknown ? Omit<L, K> : never;

export interface RecordOptions {
  readonly clock: Clock;
  /** Of the clock, when the recording began. */
  readonly startMs: number;
  /** From 1 on. */
  readonly number: number;
  /** Of this recording, and never written. */
  readonly key: Buffer;
  readonly withPayload: boolean;
  readonly transport: Extract<PortLine, { kind: 'open' }>['transport'];
  readonly usb: Extract<PortLine, { kind: 'open' }>['usb'];
  /** Never throws, never waits. */
  readonly onLine: (line: RecordingLine) => void;
}

export function recordLink(link: Link, options: RecordOptions): Link {
  const { clock, number, onLine, startMs, transport, usb, withPayload } = options;
  const tell = (line: Without<RecordingLine, 't' | 'link'>) => {
    const t = Number(((clock.now() - startMs) / 1000).toFixed(6));
    onLine({ t, link: number, ...line });
  };
  const secrets = new Secrets(options.key, withPayload);
  const noise = new Noise(withPayload, (dir, bytes) => tell({ dir, kind: 'raw', hex: bytes.toString('hex') }));
  const decoder = (dir: FrameLine['dir']) =>
    new SlipDecoder(MAX_FRAME_BYTES, {
      frame: (content) => {
        noise.flush();
        tell({ dir, ...(dir === 'host' ? secrets.fromHost(content) : secrets.fromChip(content)) });
      },
      noise: (bytes) => noise.add(dir, bytes),
    });
  const fromHost = decoder('host');
  const fromChip = decoder('chip');
  const port = (line: Without<PortLine, 't' | 'link' | 'dir'>) => {
    noise.flush();
    tell({ dir: 'host', ...line });
  };
  const noting = async <T>(call: string, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      const code = error instanceof EspdError ? error.code : (systemCode(error) ?? 'aborted');
      port({ kind: 'fault', call, code });
      throw error;
    }
  };
  const { controlLines, baudRate: canSetBaudRate } = link.capabilities;
  port({ kind: 'open', transport, baudRate: link.baudRate, controlLines, canSetBaudRate, usb });
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
      fromHost.push(Buffer.from(data.buffer, data.byteOffset, data.length));
      return noting('write', link.write(data));
    },
    async read(timeoutMs, signal) {
      const chunk = await noting('read', link.read(timeoutMs, signal));
      if (chunk !== null) fromChip.push(chunk);
      return chunk;
    },
    purge() {
      port({ kind: 'purge' });
      fromChip.reset();
      return noting('purge', link.purge());
    },
    setBaudRate(baudRate) {
      port({ kind: 'baud', baudRate });
      return noting('setBaudRate', link.setBaudRate(baudRate));
    },
    setControlLines({ dtr, rts }) {
      port({ kind: 'lines', dtr, rts });
      return noting('setControlLines', link.setControlLines({ dtr, rts }));
    },
    async close() {
      port({ kind: 'close' });
      await link.close();
    },
  };
}

/** Bytes outside of frames, told by whole lines of text: whether one is a ROM's only all of it says. */
class Noise {
  readonly #reveal: boolean;
  readonly #tell: (dir: FrameLine['dir'], bytes: Buffer) => void;
  #dir: FrameLine['dir'] = 'chip';
  #bytes: Buffer = Buffer.alloc(0);

  constructor(reveal: boolean, tell: (dir: FrameLine['dir'], bytes: Buffer) => void) {
    this.#reveal = reveal;
    this.#tell = tell;
  }

  add(dir: FrameLine['dir'], bytes: Buffer): void {
    if (dir !== this.#dir) this.flush();
    this.#dir = dir;
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    const end = this.#bytes.lastIndexOf(0x0a) + 1;
    if (end > 0) this.#say(end);
    if (this.#bytes.length >= MAX_TEXT_BYTES) this.flush();
  }

  flush(): void {
    if (this.#bytes.length > 0) this.#say(this.#bytes.length);
  }

  #say(length: number): void {
    const bytes = this.#bytes.subarray(0, length);
    this.#bytes = Buffer.from(this.#bytes.subarray(length));
    this.#tell(this.#dir, this.#reveal ? bytes : onlyRomText(bytes));
  }
}
