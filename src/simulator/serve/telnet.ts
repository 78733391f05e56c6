/**
 * Telnet as a server needs it: bytes in both directions (RFC 854), the binary option (RFC 856) and which options are
 * in force (the states of RFC 1143, without its queue: this side never takes an option back).
 */

export const IAC = 255;
const SB = 250;
const SE = 240;
const CR = 13;
const LF = 10;
const NUL = 0;

export const VERB = { will: 251, wont: 252, do: 253, dont: 254 } as const;
export type Verb = (typeof VERB)[keyof typeof VERB];

/** Numbers of the options that matter here. */
export const OPTION = { binary: 0, suppressGoAhead: 3, comPort: 44 } as const;

/** A subnegotiation longer than this is dropped; the longest that RFC 2217 knows is a signature. */
const MAX_SUBNEGOTIATION_BYTES = 1024;

export type TelnetEvent =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'negotiation'; readonly verb: Verb; readonly option: number }
  | { readonly kind: 'subnegotiation'; readonly option: number; readonly payload: Buffer };

type State = 'data' | 'iac' | 'verb' | 'subnegotiation' | 'subnegotiation-iac';

/** Takes a stream of any segmentation apart. Commands without meaning here (NOP, AYT, BRK, ...) are passed over. */
export class TelnetDecoder {
  /**
   * Data is eight-bit clean. Until it is, a carriage return alone arrives as CR NUL (RFC 854). May change while
   * {@link TelnetDecoder.decode} is under way: what comes behind is taken in the new way.
   */
  binary = false;
  #state: State = 'data';
  #verb: Verb = VERB.will;
  #subnegotiation: number[] = [];
  #afterCr = false;

  *decode(bytes: Buffer): Generator<TelnetEvent, void, undefined> {
    let position = 0;
    while (position < bytes.length) {
      if (this.#state === 'data') {
        const found = bytes.indexOf(IAC, position);
        const end = found === -1 ? bytes.length : found;
        const data = this.#unstuff(bytes.subarray(position, end));
        if (data.length > 0) yield { kind: 'data', bytes: data };
        if (found !== -1) this.#state = 'iac';
        position = end + 1;
      } else {
        const event = this.#step(bytes[position] ?? 0);
        if (event !== undefined) yield event;
        position += 1;
      }
    }
  }

  /** One byte outside plain data. */
  #step(byte: number): TelnetEvent | undefined {
    switch (this.#state) {
      case 'iac':
        if (byte === SB) {
          this.#state = 'subnegotiation';
          this.#subnegotiation = [];
        } else if (byte === VERB.will || byte === VERB.wont || byte === VERB.do || byte === VERB.dont) {
          this.#state = 'verb';
          this.#verb = byte;
        } else {
          this.#state = 'data';
          this.#afterCr = false;
          if (byte === IAC) return { kind: 'data', bytes: Buffer.of(IAC) };
        }
        return undefined;
      case 'verb':
        this.#state = 'data';
        return { kind: 'negotiation', verb: this.#verb, option: byte };
      case 'subnegotiation':
        if (byte === IAC) this.#state = 'subnegotiation-iac';
        else this.#collect(byte);
        return undefined;
      case 'subnegotiation-iac': {
        if (byte === IAC) {
          this.#state = 'subnegotiation';
          this.#collect(IAC);
          return undefined;
        }
        if (byte !== SE) {
          // The end is missing: what was begun is void, and this is the command that follows it.
          this.#state = 'iac';
          return this.#step(byte);
        }
        this.#state = 'data';
        const [option, ...payload] = this.#subnegotiation;
        if (option === undefined || payload.length >= MAX_SUBNEGOTIATION_BYTES) return undefined;
        return { kind: 'subnegotiation', option, payload: Buffer.from(payload) };
      }
      case 'data':
        return undefined;
    }
  }

  #collect(byte: number): void {
    if (this.#subnegotiation.length <= MAX_SUBNEGOTIATION_BYTES) this.#subnegotiation.push(byte);
  }

  #unstuff(data: Buffer): Buffer {
    if (this.binary) {
      this.#afterCr = false;
      return data;
    }
    const kept = data.filter((byte) => {
      const stuffed = this.#afterCr && byte === NUL;
      this.#afterCr = byte === CR;
      return !stuffed;
    });
    return Buffer.from(kept);
  }
}

/** `data` as it travels: IAC doubled and, where `binary` is not in force, NUL behind a CR that no LF follows. */
export function encodeData(data: Buffer, binary: boolean): Buffer {
  const needsCare = data.includes(IAC) || (!binary && data.includes(CR));
  if (!needsCare) return data;
  const encoded = Buffer.alloc(2 * data.length);
  let length = 0;
  for (const [index, byte] of data.entries()) {
    encoded[length++] = byte;
    if (byte === IAC) encoded[length++] = IAC;
    else if (!binary && byte === CR && data[index + 1] !== LF) encoded[length++] = NUL;
  }
  return encoded.subarray(0, length);
}

export function encodeNegotiation(verb: Verb, option: number): Buffer {
  return Buffer.of(IAC, verb, option);
}

export function encodeSubnegotiation(option: number, payload: Buffer): Buffer {
  return Buffer.concat([Buffer.of(IAC, SB, option), encodeData(payload, true), Buffer.of(IAC, SE)]);
}

/** Which options are in force on either side, and what must be said about them. */
export class TelnetOptions {
  readonly #willing: { readonly here: ReadonlySet<number>; readonly there: ReadonlySet<number> };
  readonly #inForce = { here: new Set<number>(), there: new Set<number>() };
  readonly #asked = { here: new Set<number>(), there: new Set<number>() };

  /**
   * @param here options that this side performs when asked to
   * @param there options that the other side may perform
   */
  constructor(here: readonly number[], there: readonly number[]) {
    this.#willing = { here: new Set(here), there: new Set(there) };
  }

  isInForce(side: 'here' | 'there', option: number): boolean {
    return this.#inForce[side].has(option);
  }

  /** What to send in order to offer (`here`) or to ask for (`there`) an option. */
  request(side: 'here' | 'there', option: number): Buffer {
    this.#asked[side].add(option);
    return encodeNegotiation(side === 'here' ? VERB.will : VERB.do, option);
  }

  /** Takes what the other side said; returns the answer, or undefined where one would begin a loop. */
  receive(verb: Verb, option: number): Buffer | undefined {
    const side = verb === VERB.do || verb === VERB.dont ? 'here' : 'there';
    const [yes, no] = side === 'here' ? [VERB.will, VERB.wont] : [VERB.do, VERB.dont];
    const wasAsked = this.#asked[side].delete(option);
    if (verb === VERB.do || verb === VERB.will) {
      if (this.#inForce[side].has(option)) return undefined;
      if (!wasAsked && !this.#willing[side].has(option)) return encodeNegotiation(no, option);
      this.#inForce[side].add(option);
      return wasAsked ? undefined : encodeNegotiation(yes, option);
    }
    return this.#inForce[side].delete(option) ? encodeNegotiation(no, option) : undefined;
  }
}
