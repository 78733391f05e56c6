/** Commands to whoever answers at the far end of the link: the chip's ROM, or the flasher stub once it runs. */

import type { Clock } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Logger } from '../log.ts';
import type { FrameChannel } from './channel.ts';
import { refuseBeyondRom } from './flash-reach.ts';
import {
  OPCODE,
  type Response,
  SYNC_PAYLOAD,
  SYNC_REPLIES,
  decodeResponse,
  encodeRequest,
  opcodeName,
  reasonText,
  words,
} from './protocol.ts';
import { encodeFrame } from './slip.ts';

/** What every part of `esp/` needs from outside. */
export interface EspContext {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** Waits for a response to an ordinary command. A chip answers in milliseconds; network links and USB hubs do not. */
const COMMAND_TIMEOUT_MS = 3000;
/** How often a command that changes nothing is sent again when no answer came. */
const REPEATS = 2;
/** A SYNC between commands: its reply is due at once, unless line or chip have stalled. */
const SYNC_TIMEOUT_MS = 1000;
/** Silence after which no more of several frames that belong together are due. */
const QUIET_MS = 50;

/**
 * Requests that may be under way at once, in bytes with their escapes: eight reads. The UART of every chip takes in 128
 * while its ROM is busy (Technical Reference Manuals, UART, RX FIFO). On real ROM code in an emulator (ESP32 and ESP32-C3)
 * eight requests in one write got eight answers in order.
 */
const FIFO_BYTES = 112;
/** After the first of several answers the next ones are due at once: a ROM that takes one request at a time drops the rest. */
const NEXT_ANSWER_MS = 200;

/** Silence after which nothing of a late answer is taken to be on its way. */
const LATE_MS = 20;

/** How long and how often an answer to SYNC is waited for. */
export interface Patience {
  readonly attempts?: number;
  readonly timeoutMs?: number;
  readonly quietMs?: number;
}

interface CommandOptions {
  /** For *_DATA commands. */
  readonly checksum?: number;
  readonly timeoutMs?: number;
  /** The command may be sent again when its answer is lost: it changes nothing, or the same thing again. */
  readonly repeatable?: boolean;
  /** One refusal is enough, although a single bit makes one of a good answer: the caller looks further. */
  readonly believesRefusal?: boolean;
}

export class Loader {
  readonly channel: FrameChannel;
  readonly context: EspContext;
  /** Whether the ROM or the stub answers: a few commands differ. */
  readonly kind: 'rom' | 'stub';
  /** Bytes of status that end its responses; SYNC's reply tells. */
  readonly statusBytes: 2 | 4;
  /** Commands that had to be sent again. */
  retries = 0;
  /**
   * Requests may go out before the ones before them are answered. Not to a stub: it has two buffers for frames, and what
   * comes in between is lost (esp-flasher-stub, src/slip.c). Nor again after an answer was missing.
   */
  takesSeveral: boolean;
  /** A READ_FLASH is under way: the stub takes every frame for an acknowledgement. */
  isReading = false;
  /** The reader on the chip sends, and takes every byte for an acknowledgement: see `reader/stream.ts`. */
  isStreaming = false;
  /** As far as it is known: see {@link refuseBeyondRom}. */
  flashSizeBytes: number | undefined;
  /** Replies to SYNCs that were sent and may still come. */
  #repliesDue = 0;

  constructor(channel: FrameChannel, context: EspContext, kind: 'rom' | 'stub', statusBytes: 2 | 4) {
    this.channel = channel;
    this.context = context;
    this.kind = kind;
    this.statusBytes = statusBytes;
    this.takesSeveral = kind === 'rom';
  }

  /**
   * Sends a command and waits for its response.
   *
   * @throws EspdError `chip-timeout` when no response came, `chip-error` when the chip refused or failed; `no-stub-read`,
   *   before anything is sent, for what a ROM would do at another address
   */
  async command(opcode: number, payload: Uint8Array, options: CommandOptions = {}): Promise<Response> {
    if (this.kind === 'rom') refuseBeyondRom(opcode, payload, this.flashSizeBytes);
    const attempts = options.repeatable === true ? 1 + REPEATS : 1;
    const timeoutMs = options.timeoutMs ?? COMMAND_TIMEOUT_MS;
    let refusal: ChipRefusal | undefined;
    let isLost = false;
    for (let attempt = 1; attempt <= attempts; attempt++) {
      if (isLost) this.retries++;
      if (isLost && !(await this.#catchUp())) continue;
      await this.channel.send(encodeRequest(opcode, payload, options.checksum));
      const response = await this.#response(opcode, timeoutMs);
      isLost = response === null;
      if (response === null) continue;
      if (!response.failed) return response;
      // One bit that flips makes a refusal of a good answer: where asking again is allowed, only two of them count.
      if (refusal !== undefined || attempts === 1 || options.believesRefusal === true)
        throw new ChipRefusal(opcode, response.reason);
      refusal = new ChipRefusal(opcode, response.reason);
    }
    if (refusal !== undefined) throw refusal;
    throw new EspdError('chip-timeout', `The chip did not answer ${opcodeName(opcode)} within ${timeoutMs} ms`, {
      hint: 'Check cable and power; a lower serial.baudRate in the config may help',
    });
  }

  /** The 32-bit word at `address`. */
  async readRegister(address: number): Promise<number> {
    const { clock } = this.context;
    const [sentAt, retries] = [clock.now(), this.retries];
    const response = await this.command(OPCODE.READ_REG, words(address), { repeatable: true, timeoutMs: 1000 });
    if (this.retries === retries) this.channel.onRoundTrip?.(clock.now() - sentAt);
    return response.value;
  }

  /**
   * The words at these addresses, with many requests under way at once; as many as came, from the first on. What is
   * missing is to be asked for with {@link readRegister}. Answers say neither which request they are to nor whether they
   * came whole: two to the same address should be compared.
   */
  async readRegistersAtOnce(addresses: readonly number[]): Promise<number[]> {
    const requests = addresses.map((address) => encodeRequest(OPCODE.READ_REG, words(address)));
    return (await this.#atOnce(OPCODE.READ_REG, requests)).map(({ value }) => value);
  }

  /** Writes all 32 bits of the word at `address`; more than once when the answer is lost. */
  async writeRegister(address: number, value: number): Promise<void> {
    await this.#writeRegisters([[address, value]]);
  }

  /**
   * Writes several words as {@link writeRegister} does each: a stub takes them in one command, a ROM gets the next before it
   * has answered the last. Where one is lost, all behind it are written again, so nothing may depend on their order.
   */
  async writeRegisters(entries: readonly (readonly [address: number, value: number])[]): Promise<void> {
    // esp-flasher-stub, src/command_handler.c, s_write_reg. That every ROM takes more than one is not documented.
    if (this.kind === 'stub') return this.#writeRegisters(entries);
    const requests = entries.map((entry) => encodeRequest(OPCODE.WRITE_REG, writePayload([entry])));
    const { length: done } = await this.#atOnce(OPCODE.WRITE_REG, requests);
    for (const entry of entries.slice(done)) await this.#writeRegisters([entry]);
  }

  async #writeRegisters(entries: readonly (readonly [address: number, value: number])[]): Promise<void> {
    await this.command(OPCODE.WRITE_REG, writePayload(entries), { repeatable: true, timeoutMs: 1000 });
  }

  /** Answers to the requests, from the first on, as far as all of those that were under way together came. */
  async #atOnce(opcode: number, requests: readonly Buffer[]): Promise<Response[]> {
    const answers: Response[] = [];
    for (const batch of batches(requests)) {
      if (!this.takesSeveral) break;
      const came = await this.#answersTo(opcode, batch);
      if (came === null) {
        // Whose answer is missing, nobody knows.
        this.takesSeveral = false;
        this.retries++;
        await this.#catchUp();
        break;
      }
      answers.push(...came);
    }
    return answers;
  }

  /** Null where not every one was answered, and well. */
  async #answersTo(opcode: number, requests: readonly Buffer[]): Promise<Response[] | null> {
    const { clock } = this.context;
    const sentAt = clock.now();
    await this.channel.send(...requests);
    const answers: Response[] = [];
    for (const {} of requests) {
      const response = await this.#response(opcode, answers.length === 0 ? 1000 : NEXT_ANSWER_MS);
      if (response === null || response.failed) return null;
      // The first one took as long as it does alone.
      if (answers.length === 0 && opcode === OPCODE.READ_REG) this.channel.onRoundTrip?.(clock.now() - sentAt);
      answers.push(response);
    }
    return answers;
  }

  /**
   * Whether someone answers SYNC; nothing is left unread then.
   * @param quietMs before the first SYNC, for what may still be on its way: 0 after a purge
   */
  async isAlive({
    attempts = 1 + REPEATS,
    timeoutMs = SYNC_TIMEOUT_MS,
    quietMs = LATE_MS,
  }: Patience = {}): Promise<boolean> {
    for (let attempt = 0; attempt < attempts; attempt++) {
      if (await this.#catchUp(timeoutMs, attempt === 0 ? quietMs : LATE_MS)) return true;
    }
    return false;
  }

  /**
   * Sends SYNC and waits for its replies. A chip answers in order: whoever has replied to SYNC has answered everything
   * before it, so that no late response can be taken for that to the next command.
   */
  async #catchUp(timeoutMs = SYNC_TIMEOUT_MS, quietMs = LATE_MS): Promise<boolean> {
    const { signal } = this.context;
    await this.channel.drain(quietMs, 500, signal);
    // After a lost delimiter the stub takes every frame for what is between two frames.
    if (this.kind === 'stub') await this.channel.breakFrame();
    this.#repliesDue += SYNC_REPLIES;
    await this.channel.send(encodeRequest(OPCODE.SYNC, SYNC_PAYLOAD));
    const response = await this.#response(OPCODE.SYNC, timeoutMs);
    if (response === null) return false;
    await this.#passOver(this.#repliesDue - 1);
    this.#repliesDue = 0;
    // A stub's failure here is that of a command before (it writes after it has answered): the next SYNC succeeds.
    return !response.failed;
  }

  /** Drops so many responses; after the last one there is no wait, after fewer there is one for what may be late. */
  async #passOver(count: number): Promise<void> {
    const { clock, signal } = this.context;
    const deadline = clock.now() + 1000;
    for (let left = count; left > 0;) {
      const frame = await this.channel.receive(Math.min(QUIET_MS, deadline - clock.now()), signal);
      if (frame === null) {
        await this.channel.drain(0, 0);
        return;
      }
      if (decodeResponse(frame, this.statusBytes) !== null) left--;
    }
  }

  /** Waits for the response to `opcode`; null when none came in time. Responses to other commands are passed over. */
  async #response(opcode: number, timeoutMs: number): Promise<Response | null> {
    const { clock, signal } = this.context;
    const deadline = clock.now() + timeoutMs;
    for (;;) {
      const remainingMs = deadline - clock.now();
      const frame = remainingMs <= 0 ? null : await this.channel.receive(remainingMs, signal);
      if (frame === null) return null;
      const response = decodeResponse(frame, this.statusBytes);
      if (response === null) continue;
      if (response.opcode === opcode && !response.failed) return response;
      if (!response.failed || (response.opcode !== opcode && !isRefusal(response))) continue;
      // A ROM refuses in the name of the last valid command, eight times over after SYNC: the rest must not be taken
      // for answers to what comes next.
      if (response.opcode === OPCODE.SYNC && opcode !== OPCODE.SYNC) await this.#passOver(SYNC_REPLIES - 1);
      else if (response.opcode !== opcode) await this.channel.drain(QUIET_MS, 500, signal);
      return response;
    }
  }
}

function writePayload(entries: readonly (readonly [address: number, value: number])[]): Buffer {
  return words(...entries.flatMap(([address, value]) => [address, value, 0xffffffff, 0]));
}

/** In order, as many together as a UART takes in. */
function batches(requests: readonly Buffer[]): Buffer[][] {
  const all: Buffer[][] = [];
  let left = 0;
  for (const request of requests) {
    const { length } = encodeFrame(request);
    const last = all.at(-1);
    if (last === undefined || length > left) all.push([request]);
    else last.push(request);
    left = (last === undefined || length > left ? FIFO_BYTES : left) - length;
  }
  return all;
}

/** A ROM's answer to a command that it does not know or that is forbidden (in secure download mode). */
function isRefusal(response: Response): boolean {
  return response.reason === 0x05;
}

/** `chip-error` that keeps the reason byte. */
export class ChipRefusal extends EspdError {
  readonly opcode: number;
  readonly reason: number;

  constructor(opcode: number, reason: number) {
    super('chip-error', `The chip refused ${opcodeName(opcode)}: ${reasonText(reason)}`);
    this.opcode = opcode;
    this.reason = reason;
  }

  /** The command is unknown to this loader or forbidden: a ROM says 05, a stub ff or c3. */
  get isUnsupported(): boolean {
    return this.reason === 0x05 || this.reason === 0xff || this.reason === 0xc3;
  }
}

/** The conversation failed where, on another try, it might as well succeed: an answer is lost, or a refusal. */
export function isLineFault(error: unknown): error is EspdError {
  return hasCode(error, 'chip-timeout', 'chip-error');
}

/**
 * Asks until two answers in a row are the same, at most five times: responses carry no checksum.
 * @returns that answer, or undefined where no two agreed
 */
export async function agreedAnswer<T>(
  ask: () => Promise<T>,
  same: (one: T, other: T) => boolean = Object.is,
): Promise<T | undefined> {
  let previous = await ask();
  for (let attempt = 2; attempt <= 5; attempt++) {
    const answer = await ask();
    if (same(previous, answer)) return answer;
    previous = answer;
  }
  return undefined;
}
