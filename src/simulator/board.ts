/** A board: chip, wire, buttons, USB plug, and whatever is wrong with them. */

import type { ControlLines } from '../serial/link.ts';
import { Chip } from './chip.ts';
import type { ChipMode, CommandRecord } from './chip.ts';
import type { ChipModel } from './chips/model.ts';
import { FaultSet } from './faults.ts';
import type { Direction, Fault, FaultEvent } from './faults.ts';
import type { Flash } from './flash.ts';
import { Line } from './line.ts';
import { planOf } from './options.ts';
import type { BoardOptions, BoardPlan } from './options.ts';
import type { BoardPort } from './port.ts';
import { seededRandom } from './random.ts';
import { lineLogicFor } from './strapping.ts';
import type { LineEffect, LineLogic, Pins, UsbKind } from './strapping.ts';

export interface LineRecord extends ControlLines {
  readonly atMs: number;
}

/** A {@link BoardPort} that a test can look into and lay hands on. */
export interface SimulatedBoard extends BoardPort {
  readonly mac: string;
  readonly model: ChipModel;
  readonly mode: ChipMode;
  /** What its plug shows now; differs from the option where an app hands over to another peripheral. */
  readonly usb: UsbKind;
  readonly flash: Flash;
  /** Times the chip came out of reset, the first power-on not counted. */
  readonly resets: number;
  readonly commands: readonly CommandRecord[];
  /** Every change of the control lines. */
  readonly lineHistory: readonly LineRecord[];
  /** The host's rate now, and every rate that it was set to. */
  readonly baudRates: readonly number[];
  /** Bytes that crossed the wire. */
  readonly wireBytes: { readonly toBoard: number; readonly toHost: number };
  /** Plugged in and enumerated: a link can be opened. */
  readonly attached: boolean;
  /** Called when the board can be opened (again): plugged in, or enumerated anew. */
  onAppear: (() => void) | undefined;

  addFault(fault: Fault): () => void;
  clearFaults(): void;
  /** Presses BOOT (true) or lets go of it. */
  pressBoot(pressed: boolean): void;
  /** Presses RESET for `heldMs` (default 100) and lets go. */
  pressReset(heldMs?: number): void;
  /** Takes the power away and gives it back, the USB link staying (a bridge has its own power). */
  powerCycle(): void;
  /** Pulls the cable: power and link are gone. */
  unplug(): void;
  plug(): void;
}

/** A board that has power and whose app runs (or does not: see {@link SimulatedBoard.mode}). */
export function createBoard(options: BoardOptions): SimulatedBoard {
  return new Board(planOf(options));
}

const REENUMERATION_MS = 300;
const FLOOD_CHUNK_MS = 5;

class Board implements SimulatedBoard {
  readonly #plan: BoardPlan;
  readonly #faults = new FaultSet();
  readonly #line: Line;
  readonly #chip: Chip;
  #logic: LineLogic;
  /** What hangs on the plug now. */
  #usb: UsbKind;
  readonly lineHistory: LineRecord[] = [];
  readonly baudRates: number[] = [115200];
  readonly wireBytes = { toBoard: 0, toHost: 0 };
  onTransmit: ((data: Buffer) => void) | undefined;
  onVanish: (() => void) | undefined;
  onAppear: (() => void) | undefined;
  #plugged = true;
  #enumerated = true;
  #hostPins: Pins = { reset: false, boot: false };
  #bootButton = false;
  #resetButton = false;
  #inReset = false;
  /** GPIO0 as the last power-on or pin reset found it; core resets do not look again. */
  #strapped = false;
  #cancelRise: (() => void) | null = null;
  /** EN is low, and not yet for as long as it takes. */
  #cancelFall: (() => void) | null = null;
  #losing = 0;
  /** The app is about to restart the chip. */
  #restart: { readonly effect: Extract<LineEffect, { kind: 'restart' }>; readonly cancel: () => void } | null = null;

  constructor(plan: BoardPlan) {
    this.#plan = plan;
    this.#usb = plan.usb;
    this.#logic = this.#newLogic();
    this.#line = new Line(
      plan.clock,
      plan.options.line ?? null,
      {
        toChip: (data) => this.#passOn('to-board', data),
        toHost: (data) => this.#passOn('to-host', data),
        rateMeasured: (baudRate) => this.#chip.rateMeasured(baudRate),
      },
      plan.seed,
    );
    this.#chip = new Chip(plan, this.#faults, {
      transmit: (data, baudRate, sent, notBefore) => this.#line.fromChip(data, baudRate, sent, notBefore),
      setRate: (rate) => (this.#line.chipRate = plan.usb === 'bridge' ? rate : 'usb'),
      reset: () => this.#line.chipReset(),
    });
    this.#chip.onWatchdog = () => this.#reset(this.#bootPin || this.#chip.registers.downloadForced, 'watchdog');
    this.#chip.onSoftwareReset = () => this.#reset(false, 'software');
    this.#faults.onEvent = (event) => this.#happen(event);
    for (const fault of plan.options.faults ?? []) this.#faults.add(fault);
    this.#chip.boot(false, 'power-on', false);
    this.#chip.resets = 0;
  }

  get mac(): string {
    return this.#plan.identity.mac;
  }
  get model(): ChipModel {
    return this.#plan.model;
  }
  get mode(): ChipMode {
    return this.#chip.mode;
  }
  get flash(): Flash {
    return this.#plan.flash;
  }
  get resets(): number {
    return this.#chip.resets;
  }
  get commands(): readonly CommandRecord[] {
    return this.#chip.commands;
  }
  get attached(): boolean {
    return this.#plugged && this.#enumerated;
  }

  receive(data: Uint8Array): void {
    if (!this.attached) return;
    this.#waitAnew();
    this.#line.fromHost(data);
  }

  setBaudRate(baudRate: number): void {
    this.#line.hostBaudRate = baudRate;
    if (this.baudRates.at(-1) !== baudRate) this.baudRates.push(baudRate);
  }

  setControlLines(lines: ControlLines): void {
    this.lineHistory.push({ dtr: lines.dtr, rts: lines.rts, atMs: this.#plan.clock.now() });
    if (!this.attached) return;
    this.#waitAnew();
    const effect = this.#logic.change(lines, this.#chip.loaderRuns);
    if (effect.kind === 'pins') {
      this.#hostPins = effect.pins;
      this.#pinsChanged();
    } else if (effect.kind === 'core-reset') {
      this.#reset(effect.download || this.#strapped, 'software');
    } else if (effect.kind === 'restart') {
      this.#restartSoon(effect);
    }
  }

  /** The usb facts of the plug differ with it: see `otgApp` of the options. */
  get usb(): UsbKind {
    return this.#usb;
  }

  #newLogic(): LineLogic {
    const { autoReset = true, otgApp = 'esp-idf' } = this.#plan.options;
    return lineLogicFor(this.#usb, autoReset, otgApp);
  }

  #restartSoon(effect: Extract<LineEffect, { kind: 'restart' }>): void {
    this.#restart?.cancel();
    const cancel = this.#plan.clock.schedule(effect.afterMs, () => {
      this.#restart = null;
      if (this.#chip.mode !== 'app') return;
      this.#reset(effect.download || this.#strapped, 'software', effect.download);
    });
    this.#restart = { effect, cancel };
  }

  /** Each interrupt of USB begins the wait anew. */
  #waitAnew(): void {
    if (this.#restart !== null) this.#restartSoon(this.#restart.effect);
  }

  addFault(fault: Fault): () => void {
    return this.#faults.add(fault);
  }

  clearFaults(): void {
    this.#faults.clear();
  }

  pressBoot(pressed: boolean): void {
    this.#bootButton = pressed;
  }

  pressReset(heldMs = 100): void {
    this.#resetButton = true;
    this.#pinsChanged();
    this.#plan.clock.schedule(heldMs, () => {
      this.#resetButton = false;
      this.#pinsChanged();
    });
  }

  powerCycle(): void {
    this.#chip.stop('off');
    this.#strapped = this.#bootPin;
    this.#showUsb(false);
    this.#chip.boot(this.#strapped, 'power-on', false);
    this.#reenumerate();
  }

  unplug(): void {
    if (!this.#plugged) return;
    this.#plugged = false;
    this.#cancelRise?.();
    this.#cancelFall?.();
    this.#cancelFall = null;
    this.#chip.stop('off');
    this.#line.unplugged();
    this.#vanish();
  }

  plug(): void {
    if (this.#plugged) return;
    this.#plugged = true;
    this.#hostPins = { reset: false, boot: false };
    this.#inReset = false;
    this.#strapped = this.#bootPin;
    this.#showUsb(false);
    this.#chip.boot(this.#strapped, 'power-on', false);
    this.onAppear?.();
  }

  get #bootPin(): boolean {
    return this.#hostPins.boot || this.#bootButton;
  }

  /** EN as host and button pull it; GPIO0 is looked at when EN has risen. */
  #pinsChanged(): void {
    const low = this.#hostPins.reset || this.#resetButton;
    if (!this.#plugged) return;
    if (low && !this.#inReset) {
      this.#inReset = true;
      this.#cancelFall = this.#soon(this.#plan.options.minEnLowMs ?? 0, () => {
        this.#cancelFall = null;
        this.#cancelRise?.();
        this.#cancelRise = null;
        this.#chip.stop('reset');
      });
    } else if (!low && this.#inReset) {
      this.#inReset = false;
      if (this.#cancelFall !== null) {
        this.#cancelFall();
        this.#cancelFall = null;
        return;
      }
      this.#cancelRise?.();
      this.#cancelRise = this.#plan.clock.schedule(this.#plan.options.enRiseMs ?? 1, () => {
        this.#cancelRise = null;
        this.#strapped = this.#bootPin;
        this.#reset(this.#strapped, 'power-on');
      });
    }
  }

  /** At once where that is 0: null then. */
  #soon(delayMs: number, work: () => void): (() => void) | null {
    if (delayMs > 0) return this.#plan.clock.schedule(delayMs, work);
    work();
    return null;
  }

  #reset(download: boolean, reason: 'power-on' | 'watchdog' | 'software', forced = false): void {
    if (reason === 'watchdog') this.#strapped = download;
    this.#showUsb(forced);
    this.#chip.boot(download, reason, forced);
    this.#reenumerate();
  }

  /** An app's own USB begins anew with the app; Arduino's hands an ESP32-S3 over to USB-Serial/JTAG for download mode. */
  #showUsb(forced: boolean): void {
    const { usb, model, options } = this.#plan;
    this.#restart?.cancel();
    this.#restart = null;
    if (usb !== 'usb-otg') return;
    const handsOver = forced && options.otgApp === 'arduino' && model.family === 'esp32s3';
    this.#usb = handsOver ? 'usb-serial-jtag' : 'usb-otg';
    this.#logic = this.#newLogic();
    this.#chip.registers.talkOver(handsOver ? 'usb-serial-jtag' : 'usb-otg');
  }

  /** The chip's own USB goes with the chip. */
  #reenumerate(): void {
    if (this.#plan.usb === 'bridge' || this.#plan.options.reenumerates !== true || !this.#enumerated) return;
    this.#enumerated = false;
    this.#line.unplugged();
    this.#vanish();
    this.#plan.clock.schedule(REENUMERATION_MS, () => {
      this.#enumerated = true;
      if (this.#plugged) this.onAppear?.();
    });
  }

  #vanish(): void {
    const vanished = this.onVanish;
    this.onVanish = undefined;
    this.onTransmit = undefined;
    vanished?.();
  }

  /** Bytes that have crossed the wire, through the faults, to whoever takes them. */
  #passOn(direction: Direction, data: Buffer): void {
    const muted = this.#faults.active('mute') !== undefined;
    const { passed, event, rest } = this.#faults.bytes(direction, data);
    if (direction === 'to-board') this.#toBoard(passed);
    else if (!muted) this.#toHost(this.#bridgeLoses(passed));
    if (event !== null) this.#happen(event);
    if (rest === null || !this.attached) return;
    if (event?.kind === 'stall' && direction === 'to-host') this.#line.holdBack(rest, event.durationMs);
    else if (event?.kind !== 'reset') this.#passOn(direction, rest);
  }

  #toBoard(data: Buffer): void {
    this.wireBytes.toBoard += data.length;
    this.#chip.receive(data);
  }

  #toHost(data: Buffer): void {
    if (data.length === 0) return;
    this.wireBytes.toHost += data.length;
    this.onTransmit?.(data);
  }

  #bridgeLoses(data: Buffer): Buffer {
    const fault = this.#faults.active('loses-above');
    if (fault === undefined || this.#plan.usb !== 'bridge' || this.#line.hostBaudRate <= fault.baudRate) return data;
    const every = fault.every ?? 1000;
    return Buffer.from(data.filter(() => ++this.#losing % every !== 0));
  }

  #happen(event: FaultEvent): void {
    switch (event.kind) {
      case 'stall':
        this.#line.holdBack(Buffer.alloc(0), event.durationMs);
        return;
      case 'reset':
        this.#reset(this.#bootPin, 'power-on');
        return;
      case 'vanish':
        this.unplug();
        return;
      case 'flood':
        this.#flood(event.durationMs, event.bytesPerSecond ?? 200_000);
        return;
    }
  }

  #flood(durationMs: number, bytesPerSecond: number): void {
    const { clock, seed } = this.#plan;
    const until = clock.now() + durationMs;
    const noise = seededRandom(seed + 2).bytes(Math.ceil((bytesPerSecond * FLOOD_CHUNK_MS) / 1000));
    const pour = () => {
      if (!this.attached || clock.now() >= until) return;
      this.#toHost(noise);
      clock.schedule(FLOOD_CHUNK_MS, pour);
    };
    pour();
  }
}
