/** `rfc2217://host:port`: a serial port of another machine, baud rate and control lines included (RFC 2217). */

import { sleep, withTimeout } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { NetworkAddress } from './address.ts';
import type { ControlLines, Link, LinkCapabilities } from './link.ts';
import { type LinkOptions, nextPoll, unlessAborted, wireTimeMs } from './link-common.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import {
  COMMAND,
  comPortCommand,
  CONTROL,
  escapeIac,
  OPTION,
  OptionNegotiator,
  PARITY_NONE,
  PURGE_RECEIVE,
  SERVER_ANSWER_OFFSET,
  setBaudRateCommand,
  STOP_SIZE_ONE,
  TelnetParser,
  VERB,
} from './rfc2217-codec.ts';
import { TcpConnection } from './tcp-connection.ts';

/** How long the server may take to accept COM-PORT-OPTION, a baud rate or a purge before the link goes on without. */
const CONFIRM_TIMEOUT_MS = 2000;
/** Longest wait for written bytes to leave the far end before the rate changes. */
const LEAVE_TIMEOUT_MS = 2000;
const RELEASED: ControlLines = { dtr: false, rts: false };

/**
 * Connects, negotiates and sets 8N1 without flow control. A server that refuses COM-PORT-OPTION gives a link without
 * capabilities. The control lines are left as the server has them: esp_rfc2217_server (of esptool) takes "RTS off" for
 * a request to reset the board, and both lines asserted, as other servers leave them, moves neither EN nor GPIO0.
 *
 * Errors: those of {@link TcpConnection.connect}; `port-busy` or `port-failed` when the server hangs up at once;
 * `no-rfc2217` where it must speak RFC 2217 and does not.
 */
export async function openRfc2217Link(address: string, target: NetworkAddress, options: LinkOptions): Promise<Link> {
  const link = new Rfc2217Link(address, options);
  try {
    await link.open(target);
    return link;
  } catch (error) {
    await link.close();
    throw error;
  }
}

class Rfc2217Link implements Link {
  readonly address: string;
  readonly #options: LinkOptions;
  readonly #received: ReceiveBuffer;
  readonly #negotiator = new OptionNegotiator();
  readonly #parser: TelnetParser;
  readonly #confirmations = new Map<number, (payload: Buffer | undefined) => void>();
  /** Commands that this server has left unconfirmed: not waited for again. */
  readonly #unconfirmed = new Set<number>();
  #capabilities: LinkCapabilities = { controlLines: false, baudRate: false };
  #connection: TcpConnection | undefined;
  #baudRate: number;
  #lines: ControlLines = RELEASED;
  /** When the far end will have sent everything that was written, by the clock. */
  #leftAtMs = 0;
  #purging = false;
  #onComPortVerdict: (() => void) | undefined;

  constructor(address: string, options: LinkOptions) {
    this.address = address;
    this.#options = options;
    this.#baudRate = options.baudRate;
    this.#received = new ReceiveBuffer(address, options.clock);
    this.#parser = new TelnetParser({
      data: (chunk) => {
        if (!this.#purging) this.#received.push(chunk);
      },
      negotiation: (verb, option) => {
        const answer = this.#negotiator.answer(verb, option);
        if (answer !== undefined) this.#post(answer);
        if (option === OPTION.comPort && (this.#negotiator.comPort || verb === VERB.dont)) this.#onComPortVerdict?.();
      },
      subnegotiation: (option, payload) => {
        if (option !== OPTION.comPort || payload.length === 0) return;
        const command = (payload[0] ?? 0) - SERVER_ANSWER_OFFSET;
        this.#confirmations.get(command)?.(payload.subarray(1));
      },
    });
  }

  get capabilities(): LinkCapabilities {
    return this.#capabilities;
  }

  get baudRate(): number {
    return this.#baudRate;
  }

  get isOpen(): boolean {
    return this.#connection?.isOpen ?? false;
  }

  async open(target: NetworkAddress): Promise<void> {
    const { log, signal } = this.#options;
    this.#connection = await TcpConnection.connect(this.address, target, this.#options, {
      data: (chunk) => this.#parser.push(chunk),
      ended: (error) => {
        this.#received.end(error);
        this.#onComPortVerdict?.();
        for (const settle of [...this.#confirmations.values()]) settle(undefined);
      },
    });
    await unlessAborted(signal, this.#negotiate(), () => undefined);
    if (!this.#negotiator.comPort) {
      if (this.#options.mustSpeakRfc2217 === true) throw noRfc2217(this.address);
      log.warn('the server does not speak RFC 2217: no control lines, no baud rate', { port: this.address });
      return;
    }
    this.#capabilities = { controlLines: true, baudRate: true };
    const confirmed = this.#confirmation(COMMAND.setBaudRate);
    await this.#send(
      setBaudRateCommand(this.#baudRate),
      comPortCommand(COMMAND.setDataSize, [8]),
      comPortCommand(COMMAND.setParity, [PARITY_NONE]),
      comPortCommand(COMMAND.setStopSize, [STOP_SIZE_ONE]),
      comPortCommand(COMMAND.setControl, [CONTROL.noFlowControl]),
    );
    this.#takeRate(this.#baudRate, await unlessAborted(signal, confirmed, () => undefined));
    if (!this.#negotiator.binary) {
      log.warn('the server does not confirm binary transmission: data may be changed on the way', {
        port: this.address,
      });
    }
  }

  async write(data: Uint8Array): Promise<void> {
    const now = this.#options.clock.now();
    this.#leftAtMs = Math.max(now, this.#leftAtMs) + wireTimeMs(data.length, this.#baudRate);
    await this.#send(escapeIac(data));
  }

  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    return this.#received.read(timeoutMs, signal);
  }

  /**
   * The server's answer comes behind all that it had sent before, so what arrives until then is old. Without an answer
   * within two seconds the purge is a local one.
   */
  async purge(): Promise<void> {
    const forget = () => {
      this.#received.clear();
      this.#purging = false;
    };
    this.#purging = true;
    try {
      let answer: Buffer | undefined;
      if (this.#capabilities.baudRate) {
        // At the moment of the answer, not later: what follows it, perhaps in the same segment, is new.
        const confirmed = this.#confirmation(COMMAND.purgeData, forget);
        await this.#send(comPortCommand(COMMAND.purgeData, [PURGE_RECEIVE]));
        answer = await confirmed;
      }
      if (answer === undefined) {
        await nextPoll();
        forget();
      }
    } finally {
      this.#purging = false;
    }
    this.#received.throwIfEnded();
  }

  async setBaudRate(baudRate: number): Promise<void> {
    if (!this.#capabilities.baudRate) return;
    const waitMs = Math.min(this.#leftAtMs - this.#options.clock.now(), LEAVE_TIMEOUT_MS);
    if (waitMs > 0) await sleep(this.#options.clock, waitMs);
    const confirmed = this.#confirmation(COMMAND.setBaudRate);
    await this.#send(setBaudRateCommand(baudRate));
    this.#takeRate(baudRate, await confirmed);
    this.#received.throwIfEnded();
  }

  /** Both commands in one segment. No confirmation is awaited: ser2net on a pty gives none. */
  async setControlLines(lines: ControlLines): Promise<void> {
    if (!this.#capabilities.controlLines) return;
    await this.#sendLines(lines);
  }

  async close(): Promise<void> {
    // A board must not stay in reset because its job died half way: most servers keep the lines after a disconnect.
    if (this.isOpen && (this.#lines.dtr || this.#lines.rts)) void this.#sendLines(RELEASED).catch(() => undefined);
    await this.#connection?.close();
  }

  async #negotiate(): Promise<void> {
    const verdict = new Promise<void>((resolve) => (this.#onComPortVerdict = resolve));
    const timeout = () => new EspdError('no-answer', 'no verdict on COM-PORT-OPTION');
    try {
      await this.#send(this.#negotiator.start());
      await withTimeout(this.#options.clock, CONFIRM_TIMEOUT_MS, verdict, timeout);
    } catch (error) {
      if (!hasCode(error, 'no-answer', 'port-vanished')) throw error;
    }
    this.#onComPortVerdict = undefined;
    if (this.isOpen) return;
    throw hungUp(this.address, await this.#received.read(0).catch(() => null));
  }

  /** Resolves with the payload of the server's answer to `command`, or undefined when there is none in time. */
  #confirmation(command: number, onArrival?: () => void): Promise<Buffer | undefined> {
    if (this.#unconfirmed.has(command)) return Promise.resolve(undefined);
    return new Promise((resolve) => {
      const settle = (payload: Buffer | undefined) => {
        cancel();
        this.#confirmations.delete(command);
        if (payload !== undefined) onArrival?.();
        resolve(payload);
      };
      const cancel = this.#options.clock.schedule(CONFIRM_TIMEOUT_MS, () => {
        this.#unconfirmed.add(command);
        const name = Object.entries(COMMAND).find(([, code]) => code === command)?.[0];
        this.#options.log.warn('the RFC 2217 server does not confirm; going on', { port: this.address, command: name });
        settle(undefined);
      });
      this.#confirmations.set(command, settle);
    });
  }

  /** Notes the rate in force: `asked`, unless the server says clearly that it has set another one. */
  #takeRate(asked: number, answer: Buffer | undefined): void {
    const actual = answer !== undefined && answer.length >= 4 ? answer.readUInt32BE() : asked;
    // Some servers answer 0 or a rounded rate (75000 for 74880): three percent is what a UART tolerates.
    const differs = actual !== 0 && Math.abs(actual - asked) > asked * 0.03;
    this.#baudRate = differs ? actual : asked;
    if (differs) this.#options.log.warn('the server has set another baud rate', { port: this.address, asked, actual });
  }

  #sendLines(lines: ControlLines): Promise<void> {
    this.#lines = lines;
    return this.#send(
      comPortCommand(COMMAND.setControl, [lines.dtr ? CONTROL.dtrOn : CONTROL.dtrOff]),
      comPortCommand(COMMAND.setControl, [lines.rts ? CONTROL.rtsOn : CONTROL.rtsOff]),
    );
  }

  #send(...parts: Uint8Array[]): Promise<void> {
    const [first = Buffer.alloc(0)] = parts;
    const bytes = parts.length === 1 ? first : Buffer.concat(parts);
    if (this.#connection === undefined) return Promise.reject(new EspdError('internal', 'the link is not open yet'));
    return this.#connection.write(bytes, this.#baudRate);
  }

  /** Sends without waiting; a failure shows as the end of the connection. */
  #post(bytes: Buffer): void {
    void this.#send(bytes).catch(() => undefined);
  }
}

/** Something else may listen there: a console, a web server. Only offers of Telnet were sent to it. */
function noRfc2217(address: string): EspdError {
  return new EspdError('no-rfc2217', `${address}: what listens there does not answer as RFC 2217 does`, {
    hint: 'Is the port number right? ser2net needs the accepter telnet(rfc2217); other servers have one client at a time',
  });
}

/**
 * All that a server says when somebody else has its port (ser2net, port.c: "Port already in use", "Port's device already
 * in use"). Whatever else comes before the end may be the board's.
 */
const IN_USE =
  /^(?:the )?(?:serial )?(?:port|device|port's device)(?: is)? (?:already (?:in use|open)|in use|busy)[.!]?$/i;

/** A server that ends the conversation before it began. Text that came may be its own words, or its board's. */
function hungUp(address: string, said: Buffer | null): EspdError {
  const text = (said?.toString('latin1') ?? '').replace(/[^\x20-\x7e]+/g, ' ').trim();
  if (IN_USE.test(text)) {
    return new EspdError('port-busy', `${address} is in use: its server says "${text}"`, {
      hint: 'Another program is connected to this serial port server',
    });
  }
  const came = text === '' ? '' : `, after "${text.slice(-200)}" from it or its board`;
  return new EspdError('port-failed', `${address}: the server closed the connection at once${came}`, {
    hint: 'Another program may be connected to it. If not: does it speak RFC 2217, and can the server open its port?',
  });
}
