/**
 * A link that answers as a recorded chip did. What the host does is held against the recording: the first thing that
 * differs is told, and from then on nothing is answered.
 *
 * Bytes of flash that were cut out are made up, the same for the same tag, and the digests that espd asks for are those of
 * what was made up. So backups and restores without payload replay to their end: of another flash with the same layout of
 * blank, equal and different regions. What is written is then compressed to another length than it was, so of the data
 * of a write neither number nor size is held against the recording.
 */

import { type Clock, sleep, unlessAborted } from '../../clock.ts';
import { EspdError } from '../../errors.ts';
import { SlipDecoder, encodeFrame } from '../../esp/slip.ts';
import type { ControlLines, Link } from '../../serial/link.ts';
import type { FrameLine, PortLine, RecordingLine } from './format.ts';
import { OPCODE } from '../../esp/protocol.ts';
import { MadeUpFlash } from './made-up-flash.ts';
import { MadeUpBytes, madeUpImages } from './made-up-image.ts';

/** What a host does, and whether it is what was recorded. */
interface HostStep {
  readonly line: RecordingLine;
  /** When it was done, of the clock. */
  doneMs: number | undefined;
}

interface ChipStep {
  readonly line: FrameLine;
  /** So many steps of the host come before it. */
  readonly after: number;
}

export interface ReplayOptions {
  readonly clock: Clock;
  /** Lines of one link, from its `open` on; without one it is as a raw socket was. */
  readonly lines: readonly RecordingLine[];
  /** Of the whole recording, with the images that espd had; without them there were none. */
  readonly all?: readonly RecordingLine[];
  readonly address?: string;
}

export class ReplayLink implements Link {
  readonly address: string;
  readonly capabilities: Link['capabilities'];
  baudRate: number;
  isOpen = true;
  /** Where the host does something else than was recorded; undefined where it does not. */
  divergence: string | undefined;
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #host: HostStep[] = [];
  readonly #chip: ChipStep[] = [];
  readonly #flash: MadeUpFlash;
  /** The answer to the last block of a write, for those that there were not. */
  #blockAnswer: ChipStep | undefined;
  /** Answers to blocks that there were not, and when they come. */
  readonly #extra: { readonly dueMs: number; readonly bytes: Buffer }[] = [];
  readonly #decoder: SlipDecoder;
  #hostAt = 0;
  #chipAt = 0;
  #wake: () => void = () => undefined;

  constructor({ clock, lines, all = lines, address = 'replay' }: ReplayOptions) {
    const open = lines.find((line): line is Extract<PortLine, { kind: 'open' }> => line.kind === 'open');
    this.address = address;
    this.baudRate = open?.baudRate ?? 115_200;
    this.capabilities = { controlLines: open?.controlLines ?? false, baudRate: open?.canSetBaudRate ?? false };
    this.#clock = clock;
    const made = new MadeUpBytes(all);
    this.#flash = new MadeUpFlash(lines, made, madeUpImages(all, made));
    this.#startMs = clock.now();
    const firstT = lines[0]?.t ?? 0;
    for (const line of lines) {
      const shifted = { ...line, t: line.t - firstT };
      if (shifted.dir === 'chip') this.#chip.push({ line: shifted, after: this.#host.length });
      else if (['cmd', 'lines', 'baud'].includes(shifted.kind)) this.#host.push({ line: shifted, doneMs: undefined });
    }
    this.#decoder = new SlipDecoder(65_536, {
      frame: (frame) => this.#onFrame(frame),
      noise: () => undefined,
    });
  }

  /** How much of what was recorded has been done, for people. */
  get progress(): { readonly done: number; readonly recorded: number } {
    return { done: this.#hostAt, recorded: this.#host.length };
  }

  write(data: Uint8Array): Promise<void> {
    if (!this.isOpen) return Promise.reject(closed(this.address));
    this.#decoder.push(Buffer.from(data.buffer, data.byteOffset, data.length));
    return Promise.resolve();
  }

  async read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    const deadline = this.#clock.now() + timeoutMs;
    for (;;) {
      signal?.throwIfAborted();
      if (!this.isOpen) throw closed(this.address);
      const nowMs = this.#clock.now();
      const extra = this.#extra[0];
      if (extra !== undefined && extra.dueMs <= nowMs) {
        this.#extra.shift();
        return extra.bytes;
      }
      const dueMs = extra?.dueMs ?? this.#dueMs();
      if (dueMs !== undefined && dueMs <= nowMs) {
        const step = this.#chip[this.#chipAt++] as ChipStep;
        const bytes = this.#bytesOf(step.line);
        if (bytes.length > 0) return bytes;
        continue;
      }
      const until = dueMs === undefined ? deadline : Math.min(deadline, dueMs);
      if (until <= nowMs) return null;
      const hostDoes = new Promise<void>((resolve) => (this.#wake = resolve));
      await unlessAborted(Promise.race([sleep(this.#clock, until - nowMs), hostDoes]), signal);
    }
  }

  /** What a host purges was never read, so that no recording has it. */
  purge(): Promise<void> {
    this.#decoder.reset();
    return Promise.resolve();
  }

  setBaudRate(baudRate: number): Promise<void> {
    this.baudRate = baudRate;
    this.#onHost({ kind: 'baud', baudRate });
    return Promise.resolve();
  }

  setControlLines({ dtr, rts }: ControlLines): Promise<void> {
    if (this.capabilities.controlLines) this.#onHost({ kind: 'lines', dtr, rts });
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.isOpen = false;
    this.#wake();
    return Promise.resolve();
  }

  /** When the next answer comes: as long after what the host did before it as it was; undefined = not before it does more. */
  #dueMs(): number | undefined {
    const next = this.#chip[this.#chipAt];
    if (next === undefined || this.divergence !== undefined || next.after > this.#hostAt) return undefined;
    const before = this.#host[next.after - 1];
    return (before?.doneMs ?? this.#startMs) + Math.max(0, next.line.t - (before?.line.t ?? 0)) * 1000;
  }

  #onFrame(frame: Buffer): void {
    // Acknowledgements come as early as they like.
    if (frame.length === 4) return;
    this.#flash.fromHost(frame);
    const opcode = frame[1] ?? 0;
    if (opcode === OPCODE.FLASH_DEFL_DATA && this.#answerExtraBlock()) return;
    if (opcode === OPCODE.FLASH_DEFL_END) this.#skipBlocks();
    this.#onHost({ kind: 'cmd', frame });
  }

  #onHost(
    done: { kind: 'cmd'; frame: Buffer } | { kind: 'baud'; baudRate: number } | ({ kind: 'lines' } & ControlLines),
  ) {
    if (this.divergence !== undefined) return;
    const step = this.#host[this.#hostAt];
    const isCut = isCutBlock(this.#host[this.#hostAt + 1]?.line);
    const problem = step === undefined ? 'it had ended' : differenceOf(step.line, done, isCut);
    if (step === undefined || problem !== undefined) {
      const at = step === undefined ? '' : ` (${step.line.t.toFixed(3)} s)`;
      this.divergence = `Step ${this.#hostAt + 1}${at}: ${problem}`;
      return;
    }
    step.doneMs = this.#clock.now();
    this.#hostAt++;
    this.#wake();
  }

  /** One block more than there were: it is answered as the last one was. */
  #answerExtraBlock(): boolean {
    const [before, next] = [this.#host[this.#hostAt - 1]?.line, this.#host[this.#hostAt]?.line];
    if (this.divergence !== undefined || !isCutBlock(before) || isCutBlock(next)) return false;
    // What is still to come of the recorded blocks comes first.
    const answer = this.#chip.findLast(({ after }) => after === this.#hostAt) ?? this.#blockAnswer;
    if (answer === undefined) return false;
    this.#blockAnswer = answer;
    const askedMs = this.#host[this.#hostAt - 1]?.line.t ?? 0;
    const tookMs = Math.max(0, answer.line.t - askedMs) * 1000;
    this.#extra.push({ dueMs: this.#clock.now() + tookMs, bytes: this.#bytesOf(answer.line) });
    this.#wake();
    return true;
  }

  /** Blocks fewer than there were: the rest is as if it had been said and answered. */
  #skipBlocks(): void {
    while (isCutBlock(this.#host[this.#hostAt]?.line)) {
      const step = this.#host[this.#hostAt++];
      if (step !== undefined) step.doneMs = this.#clock.now();
    }
    while ((this.#chip[this.#chipAt]?.after ?? Infinity) <= this.#hostAt && this.#isOfBlock(this.#chip[this.#chipAt])) {
      this.#chipAt++;
    }
  }

  #isOfBlock(step: ChipStep | undefined): boolean {
    return step !== undefined && isCutBlock(this.#host[step.after - 1]?.line);
  }

  #bytesOf(line: FrameLine): Buffer {
    const told = Buffer.from(line.hex, 'hex');
    if (line.kind === 'raw') return told;
    return encodeFrame(this.#flash.fromChip(told, line));
  }
}

/** @param isBeforeCut data that is not in the recording comes behind it */
function differenceOf(
  line: RecordingLine,
  done: { kind: 'cmd'; frame: Buffer } | { kind: 'baud'; baudRate: number } | ({ kind: 'lines' } & ControlLines),
  isBeforeCut: boolean,
): string | undefined {
  const was = shown(line);
  if (done.kind === 'baud') {
    return line.kind === 'baud' && line.baudRate === done.baudRate
      ? undefined
      : `baud ${done.baudRate}, and was ${was}`;
  }
  if (done.kind === 'lines') {
    const isSame = line.kind === 'lines' && line.dtr === done.dtr && line.rts === done.rts;
    return isSame ? undefined : `DTR ${done.dtr}, RTS ${done.rts}, and was ${was}`;
  }
  const is = `command ${done.frame.toString('hex', 0, 24)}`;
  if (line.kind !== 'cmd') return `${is}, and was ${was}`;
  // Of what was cut out, and of the checksum of it, nothing is known: program bytes change with each version, too.
  const told = Buffer.from(line.hex, 'hex');
  if (isBeforeCut && isWriteBegin(told) && isWriteBegin(done.frame) && told[1] === done.frame[1]) {
    // How many blocks there are, and how long, follows from what is in them.
    const place = (frame: Buffer) => Buffer.concat([frame.subarray(8, 12), frame.subarray(20)]);
    return place(told).equals(place(done.frame)) ? undefined : `${is}, and was ${was}`;
  }
  const isSame =
    isCutBlock(line) && done.frame[1] === OPCODE.FLASH_DEFL_DATA
      ? true
      : line.data === undefined
        ? told.equals(done.frame)
        : told.subarray(0, 4).equals(done.frame.subarray(0, 4)) && done.frame.length === told.length + line.data.bytes;
  return isSame ? undefined : `${is}, and was ${was}`;
}

/** A block of compressed data, whose bytes are not in the recording. */
function isCutBlock(line: RecordingLine | undefined): boolean {
  if (line?.kind !== 'cmd' || line.data === undefined) return false;
  return Number.parseInt(line.hex.slice(2, 4), 16) === OPCODE.FLASH_DEFL_DATA;
}

const isWriteBegin = (frame: Buffer) => frame[1] === OPCODE.FLASH_DEFL_BEGIN && frame.length >= 24;

function shown(line: RecordingLine): string {
  switch (line.kind) {
    case 'baud':
      return `baud ${line.baudRate}`;
    case 'lines':
      return `DTR ${line.dtr}, RTS ${line.rts}`;
    case 'cmd':
      return `command ${line.hex.slice(0, 48)}`;
    default:
      return line.kind;
  }
}

function closed(address: string): EspdError {
  return new EspdError('port-vanished', `${address} is closed`);
}
