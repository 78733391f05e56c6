/**
 * A board behind RFC 2217, the Telnet COM Port Control Option: bytes, both control lines and the baud rate.
 *
 * Written from the RFC (https://www.rfc-editor.org/rfc/rfc2217) and independent of espd's client, so that an error of
 * one shows against the other.
 */

import type { Clock } from '../../clock.ts';
import { systemClock } from '../../clock.ts';
import type { ControlLines } from '../../serial/link.ts';
import type { BoardPort } from '../port.ts';
import type { Outbox } from './outbox.ts';
import type { ServedBoard } from './served.ts';
import type { Session, SocketServeOptions } from './socket-server.ts';
import { serveSocket } from './socket-server.ts';
import { OPTION, TelnetDecoder, TelnetOptions, encodeData, encodeSubnegotiation } from './telnet.ts';

export interface Rfc2217ServeOptions extends SocketServeOptions {
  /** The rate before the client sets one, in baud. Default 115200. */
  readonly initialBaudRate?: number;
  /** A higher one is not taken, and the answer names the rate that stays in force. Default: no limit. */
  readonly maxBaudRate?: number;
  /** The server's operating system asserts DTR and RTS when a client comes, as on opening a tty. Default true. */
  readonly raiseLinesOnOpen?: boolean;
  /** Both lines fall when the client leaves (HUPCL of the tty). Default true. */
  readonly dropLinesOnClose?: boolean;
  /** SET-CONTROL is carried out but never answered, as by ser2net 4.3 on a pty. Default false. */
  readonly neverConfirmControl?: boolean;
  /** The option itself is refused, as by a plain telnet server; data still flows. Default false. */
  readonly refuseComPort?: boolean;
  /** Commands are carried out at once, their answers leave that much later. Default 0. */
  readonly confirmDelayMs?: number;
  /** All that is sent travels in segments of one byte. Default false. */
  readonly cuts?: boolean;
}

/** Commands of the client (RFC 2217, section 2 to 5); the server's answer bears the code + 100. */
const COMMAND = {
  signature: 0,
  setBaudRate: 1,
  setDataSize: 2,
  setParity: 3,
  setStopSize: 4,
  setControl: 5,
  flowControlSuspend: 8,
  flowControlResume: 9,
  setLineStateMask: 10,
  setModemStateMask: 11,
  purgeData: 12,
} as const;
const ANSWER = 100;

/** Values of SET-CONTROL: each kind of control has a query and a range of settings. */
const CONTROL_KINDS = [
  { name: 'outboundFlow', query: 0, settings: [1, 2, 3, 17, 19], initial: 1 },
  { name: 'break', query: 4, settings: [5, 6], initial: 6 },
  { name: 'dtr', query: 7, settings: [8, 9], initial: 9 },
  { name: 'rts', query: 10, settings: [11, 12], initial: 12 },
  { name: 'inboundFlow', query: 13, settings: [14, 15, 16, 18], initial: 14 },
] as const;
type ControlName = (typeof CONTROL_KINDS)[number]['name'];
const DTR_ON = 8;
const RTS_ON = 11;

/** Settings of one byte: the values that exist, and the one in force at first. 0 asks. A board only knows 8N1. */
const FORMATS = {
  [COMMAND.setDataSize]: { values: [5, 6, 7, 8], initial: 8 },
  [COMMAND.setParity]: { values: [1, 2, 3, 4, 5], initial: 1 },
  [COMMAND.setStopSize]: { values: [1, 2, 3], initial: 1 },
} as const;
type FormatCommand = keyof typeof FORMATS;

const PURGE_FROM_BOARD = [1, 3];
const SIGNATURE = 'espd simulated board';

/** Serves `board` at `rfc2217://127.0.0.1:PORT`; see {@link serveSocket} for what happens to clients. */
export async function serveRfc2217(board: BoardPort, options: Rfc2217ServeOptions = {}): Promise<ServedBoard> {
  const socketOptions = { ...options, oneByteSegments: options.cuts ?? false };
  return serveSocket(board, 'rfc2217', socketOptions, (outbox) => new ComPortSession(board, outbox, options));
}

/**
 * One client. Every command takes effect in its place in the stream, with one exception: settings of DTR and of RTS
 * that arrive in one segment with nothing but answers between them are applied in one call, because clients that mean
 * "both at once" have no other way to say it, and boards with a capacitor on EN need it. Data, a change of rate, any
 * other command or a second setting of the same line ends such a group, so no edge is lost or moved over data.
 */
class ComPortSession implements Session {
  readonly #board: BoardPort;
  readonly #outbox: Outbox;
  readonly #options: Rfc2217ServeOptions;
  readonly #clock: Clock;
  readonly #decoder = new TelnetDecoder();
  readonly #telnet: TelnetOptions;
  readonly #formats: Record<FormatCommand, number>;
  readonly #controls: Record<ControlName, number>;
  readonly #pendingAnswers = new Set<() => void>();
  #baudRate: number;
  #lines: ControlLines = { dtr: false, rts: false };
  /** Settings of lines that the board does not know yet. */
  #pendingLines: Partial<ControlLines> = {};
  #ended = false;

  constructor(board: BoardPort, outbox: Outbox, options: Rfc2217ServeOptions) {
    this.#board = board;
    this.#outbox = outbox;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#baudRate = options.initialBaudRate ?? 115_200;
    const both = [OPTION.binary, OPTION.suppressGoAhead];
    this.#telnet = new TelnetOptions(both, options.refuseComPort === true ? both : [...both, OPTION.comPort]);
    this.#formats = {
      [COMMAND.setDataSize]: FORMATS[COMMAND.setDataSize].initial,
      [COMMAND.setParity]: FORMATS[COMMAND.setParity].initial,
      [COMMAND.setStopSize]: FORMATS[COMMAND.setStopSize].initial,
    };
    this.#controls = Object.fromEntries(CONTROL_KINDS.map((kind) => [kind.name, kind.initial])) as Record<
      ControlName,
      number
    >;
  }

  /** Offers what a transparent byte stream needs. COM-PORT-OPTION is the client's to offer. */
  start(): void {
    for (const option of [OPTION.binary, OPTION.suppressGoAhead]) {
      this.#outbox.sendReply(this.#telnet.request('here', option));
      this.#outbox.sendReply(this.#telnet.request('there', option));
    }
    this.#board.setBaudRate(this.#baudRate);
    if (this.#options.raiseLinesOnOpen ?? true) {
      this.#controls.dtr = DTR_ON;
      this.#controls.rts = RTS_ON;
      this.#applyLines({ dtr: true, rts: true });
    }
  }

  receive(bytes: Buffer): void {
    for (const event of this.#decoder.decode(bytes)) {
      if (this.#isOver()) return;
      switch (event.kind) {
        case 'data':
          this.#flushLines();
          if (!this.#isOver()) this.#board.receive(event.bytes);
          break;
        case 'negotiation': {
          const answer = this.#telnet.receive(event.verb, event.option);
          if (answer !== undefined) this.#outbox.sendReply(answer);
          this.#decoder.binary = this.#telnet.isInForce('there', OPTION.binary);
          break;
        }
        case 'subnegotiation':
          if (event.option === OPTION.comPort && this.#telnet.isInForce('there', OPTION.comPort)) {
            this.#command(event.payload);
          }
      }
    }
    if (!this.#isOver()) this.#flushLines();
  }

  transmit(bytes: Buffer): void {
    this.#outbox.sendData(encodeData(bytes, this.#telnet.isInForce('here', OPTION.binary)));
  }

  end(): void {
    this.#ended = true;
    for (const cancel of this.#pendingAnswers) cancel();
    if (this.#options.dropLinesOnClose ?? true) this.#applyLines({ dtr: false, rts: false });
  }

  /** A call, because it changes under the caller's hands: whatever reaches the board may make it vanish. */
  #isOver(): boolean {
    return this.#ended;
  }

  #command(payload: Buffer): void {
    const [command, value] = payload;
    if (command !== COMMAND.setControl) this.#flushLines();
    if (this.#isOver()) return;
    switch (command) {
      case COMMAND.signature:
        if (payload.length === 1) this.#answer(command, Buffer.from(SIGNATURE));
        break;
      case COMMAND.setBaudRate:
        if (payload.length === 5) this.#setBaudRate(payload.readUInt32BE(1));
        break;
      case COMMAND.setDataSize:
      case COMMAND.setParity:
      case COMMAND.setStopSize:
        if (value === undefined) break;
        if (FORMATS[command].values.some((known) => known === value)) this.#formats[command] = value;
        this.#answer(command, Buffer.of(this.#formats[command]));
        break;
      case COMMAND.setControl:
        if (value !== undefined) this.#setControl(value);
        break;
      case COMMAND.flowControlSuspend:
        this.#outbox.suspend();
        break;
      case COMMAND.flowControlResume:
        this.#outbox.resume();
        break;
      case COMMAND.setLineStateMask:
      case COMMAND.setModemStateMask:
        // A simulated board has no line errors and no modem lines to notify of.
        if (value !== undefined) this.#answer(command, Buffer.of(value));
        break;
      case COMMAND.purgeData:
        if (value === undefined) break;
        if (PURGE_FROM_BOARD.includes(value)) this.#outbox.purgeData();
        this.#answer(command, Buffer.of(value));
        break;
      default: // The RFC has no way to refuse a command: silence.
    }
  }

  /** @param wanted 0 asks for the rate in force */
  #setBaudRate(wanted: number): void {
    if (wanted !== 0 && wanted <= (this.#options.maxBaudRate ?? Infinity)) {
      this.#baudRate = wanted;
      this.#board.setBaudRate(wanted);
    }
    const answer = Buffer.alloc(4);
    answer.writeUInt32BE(this.#baudRate);
    this.#answer(COMMAND.setBaudRate, answer);
  }

  #setControl(value: number): void {
    const kind = CONTROL_KINDS.find(
      ({ query, settings }) => query === value || settings.some((known) => known === value),
    );
    if (kind === undefined) return;
    if (value !== kind.query) {
      this.#controls[kind.name] = value;
      if (kind.name === 'dtr') this.#setLine('dtr', value === DTR_ON);
      else if (kind.name === 'rts') this.#setLine('rts', value === RTS_ON);
      else this.#flushLines();
    }
    if (this.#options.neverConfirmControl !== true) {
      this.#answer(COMMAND.setControl, Buffer.of(this.#controls[kind.name]));
    }
  }

  #setLine(line: keyof ControlLines, asserted: boolean): void {
    if (this.#pendingLines[line] !== undefined) this.#flushLines();
    this.#pendingLines = { ...this.#pendingLines, [line]: asserted };
  }

  #flushLines(): void {
    if (Object.keys(this.#pendingLines).length > 0) this.#applyLines({ ...this.#lines, ...this.#pendingLines });
  }

  #applyLines(lines: ControlLines): void {
    this.#lines = lines;
    this.#pendingLines = {};
    this.#board.setControlLines(lines);
  }

  #answer(command: number, value: Buffer): void {
    const answer = encodeSubnegotiation(OPTION.comPort, Buffer.concat([Buffer.of(command + ANSWER), value]));
    const { confirmDelayMs = 0 } = this.#options;
    if (confirmDelayMs === 0) {
      this.#outbox.sendReply(answer);
      return;
    }
    const cancel = this.#clock.schedule(confirmDelayMs, () => {
      this.#pendingAnswers.delete(cancel);
      this.#outbox.sendReply(answer);
    });
    this.#pendingAnswers.add(cancel);
  }
}
