/**
 * The bytes of RFC 2217 (serial port control over telnet): escaping, a streaming parser, commands, option negotiation.
 * Pure: no sockets, no time. Sources: RFC 854 (telnet), RFC 855 (options), RFC 856 (binary), RFC 858 (suppress go
 * ahead), RFC 1143 (negotiation without loops), RFC 2217 (COM-PORT-OPTION).
 */

const IAC = 0xff;
const SB = 250;
const SE = 240;

/** Negotiation verbs, RFC 854. */
export const VERB = { will: 251, wont: 252, do: 253, dont: 254 } as const;
export type Verb = (typeof VERB)[keyof typeof VERB];

export const OPTION = { binary: 0, suppressGoAhead: 3, comPort: 44 } as const;

/** COM-PORT-OPTION commands as the client sends them; the server answers with the command + 100 (RFC 2217). */
export const COMMAND = {
  setBaudRate: 1,
  setDataSize: 2,
  setParity: 3,
  setStopSize: 4,
  setControl: 5,
  purgeData: 12,
} as const;
export const SERVER_ANSWER_OFFSET = 100;

/** Values of SET-CONTROL, RFC 2217. */
export const CONTROL = { noFlowControl: 1, dtrOn: 8, dtrOff: 9, rtsOn: 11, rtsOff: 12 } as const;
/** Value of PURGE-DATA: the receive buffer of the server, RFC 2217. */
export const PURGE_RECEIVE = 1;
export const PARITY_NONE = 1;
export const STOP_SIZE_ONE = 1;

/** The longest subnegotiation that is kept (a server's signature may be long); what is beyond is dropped. */
const SUBNEGOTIATION_LIMIT_BYTES = 1024;

/** `data` for a telnet stream: every 0xff doubled. Returns `data` itself when it holds none. */
export function escapeIac(data: Uint8Array): Uint8Array {
  let count = 0;
  for (const byte of data) if (byte === IAC) count += 1;
  if (count === 0) return data;
  const escaped = Buffer.allocUnsafe(data.length + count);
  let at = 0;
  for (const byte of data) {
    escaped[at++] = byte;
    if (byte === IAC) escaped[at++] = IAC;
  }
  return escaped;
}

/** A COM-PORT subnegotiation: `IAC SB 44 command value IAC SE`, the value escaped. */
export function comPortCommand(command: number, value: Uint8Array | readonly number[]): Buffer {
  return Buffer.concat([
    Buffer.of(IAC, SB, OPTION.comPort, command),
    escapeIac(Uint8Array.from(value)),
    Buffer.of(IAC, SE),
  ]);
}

/** SET-BAUDRATE with the rate as four bytes in network order. */
export function setBaudRateCommand(baudRate: number): Buffer {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(baudRate);
  return comPortCommand(COMMAND.setBaudRate, value);
}

/** `IAC verb option`. */
export function negotiation(verb: Verb, option: number): Buffer {
  return Buffer.of(IAC, verb, option);
}

/** What a {@link TelnetParser} finds, in the order of the stream. */
export interface TelnetEvents {
  /** Bytes of the device, unescaped; the parser does not touch them any more. */
  data(chunk: Buffer): void;
  negotiation(verb: Verb, option: number): void;
  /** A whole subnegotiation, unescaped, without option number and frame. */
  subnegotiation(option: number, payload: Buffer): void;
}

type State = 'data' | 'command' | 'option' | 'sub' | 'sub-command';

/** Takes a telnet stream apart, however it is cut. Linear, and bounded whatever the server sends. */
export class TelnetParser {
  readonly #events: TelnetEvents;
  #state: State = 'data';
  #verb: Verb = VERB.will;
  #sub: number[] = [];

  constructor(events: TelnetEvents) {
    this.#events = events;
  }

  /**
   * Takes over `chunk`: data is unescaped in place and handed up as parts of it, since blank flash is nothing but
   * 0xff and a part for each of them would cost far more than the move.
   */
  push(chunk: Buffer): void {
    let start = 0;
    let end = 0;
    const flush = () => {
      if (end > start) this.#events.data(chunk.subarray(start, end));
      start = end;
    };
    let at = 0;
    if (this.#state === 'data') {
      const first = chunk.indexOf(IAC);
      at = first === -1 ? chunk.length : first;
      end = at;
    }
    for (; at < chunk.length; at++) {
      const byte = chunk[at] ?? 0;
      if (this.#state === 'data') {
        if (byte === IAC) this.#state = 'command';
        else chunk[end++] = byte;
      } else if (this.#state === 'command' && byte === IAC) {
        chunk[end++] = IAC;
        this.#state = 'data';
      } else {
        flush();
        this.#control(byte);
      }
    }
    flush();
  }

  /** One byte that is not data. */
  #control(byte: number): void {
    switch (this.#state) {
      case 'option':
        this.#state = 'data';
        this.#events.negotiation(this.#verb, byte);
        return;
      case 'sub':
        if (byte === IAC) this.#state = 'sub-command';
        else this.#keep(byte);
        return;
      case 'sub-command':
        if (byte === IAC) {
          this.#keep(IAC);
          this.#state = 'sub';
          return;
        }
        if (byte === SE) {
          this.#endSub();
          return;
        }
        // A command inside a subnegotiation: the server lost the thread. Drop the fragment, obey the command.
        this.#command(byte);
        return;
      case 'command':
      case 'data':
        this.#command(byte);
    }
  }

  #command(byte: number): void {
    this.#state = 'data';
    if (byte === SB) {
      this.#sub = [];
      this.#state = 'sub';
    } else if (isVerb(byte)) {
      this.#verb = byte;
      this.#state = 'option';
    }
    // All other commands (NOP, go ahead, break, ...) are one byte and mean nothing here.
  }

  #keep(byte: number): void {
    if (this.#sub.length < SUBNEGOTIATION_LIMIT_BYTES) this.#sub.push(byte);
  }

  #endSub(): void {
    this.#state = 'data';
    const [option, ...payload] = this.#sub;
    this.#sub = [];
    if (option !== undefined) this.#events.subnegotiation(option, Buffer.from(payload));
  }
}

function isVerb(byte: number): byte is Verb {
  return byte >= VERB.will && byte <= VERB.dont;
}

/** Whether an option is on for one side: `asked` = we offered or requested it and wait for the answer. */
type OptionState = 'off' | 'asked' | 'on';

/** How often the same answer about the same option is given; a sane server asks once or twice. */
const MAX_ANSWERS = 4;

/**
 * Telnet option negotiation for the options that this client wants, in both directions; everything else is refused.
 * As RFC 1143 demands, only changes are answered, so that no loop can come of it.
 */
export class OptionNegotiator {
  readonly #wanted = new Set<number>(Object.values(OPTION));
  readonly #local = new Map<number, OptionState>();
  readonly #remote = new Map<number, OptionState>();
  readonly #answers = new Map<string, number>();

  /** The bytes that open the conversation. COM-PORT is only offered (RFC 2217: the client sends WILL). */
  start(): Buffer {
    const { binary, suppressGoAhead, comPort } = OPTION;
    for (const option of [binary, suppressGoAhead, comPort]) this.#local.set(option, 'asked');
    for (const option of [binary, suppressGoAhead]) this.#remote.set(option, 'asked');
    return Buffer.concat([
      negotiation(VERB.will, binary),
      negotiation(VERB.do, binary),
      negotiation(VERB.will, suppressGoAhead),
      negotiation(VERB.do, suppressGoAhead),
      negotiation(VERB.will, comPort),
    ]);
  }

  /** The answer to the server's `verb option`, or undefined when none is due. */
  answer(verb: Verb, option: number): Buffer | undefined {
    const ours = verb === VERB.do || verb === VERB.dont;
    const states = ours ? this.#local : this.#remote;
    const before = states.get(option) ?? 'off';
    const [yes, no] = ours ? [VERB.will, VERB.wont] : [VERB.do, VERB.dont];
    if (verb === VERB.dont || verb === VERB.wont) {
      states.set(option, 'off');
      return before === 'on' ? this.#say(no, option) : undefined;
    }
    if (!this.#wanted.has(option)) return this.#say(no, option);
    states.set(option, 'on');
    return before === 'off' ? this.#say(yes, option) : undefined;
  }

  /** Two sides whose words cross can answer each other for ever (RFC 1143): after some rounds ours falls silent. */
  #say(verb: Verb, option: number): Buffer | undefined {
    const key = `${verb} ${option}`;
    const count = (this.#answers.get(key) ?? 0) + 1;
    this.#answers.set(key, count);
    return count > MAX_ANSWERS ? undefined : negotiation(verb, option);
  }

  /** Whether the server speaks COM-PORT-OPTION: it took our offer, or offered it itself (some servers do only that). */
  get comPort(): boolean {
    return this.#local.get(OPTION.comPort) === 'on' || this.#remote.get(OPTION.comPort) === 'on';
  }

  /** Whether both directions carry all 256 byte values untouched. */
  get binary(): boolean {
    return this.#local.get(OPTION.binary) === 'on' && this.#remote.get(OPTION.binary) === 'on';
  }
}
