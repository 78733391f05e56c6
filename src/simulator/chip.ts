/** The chip: reset and boot, which program runs, and the program's hands on UART, flash and registers. */

import type { ResetReason } from './chips/model.ts';
import type { BootOutcome } from './boot-log.ts';
import { bootLogOf } from './boot-log.ts';
import type { FaultSet } from './faults.ts';
import type { Loader, LoaderContext } from './loader.ts';
import type { BoardPlan } from './options.ts';
import { Ram } from './ram.ts';
import { type BuiltReader, builtReader } from './reader/program.ts';
import { RegisterFile } from './registers.ts';
import { createRom } from './rom.ts';
import { FrameReceiver, frameOf } from './slip.ts';
import { createStub } from './stub.ts';
import { runApp } from './app.ts';
import { seededRandom } from './random.ts';

/** What runs. `reset`: held in reset or not yet booted; `halted`: nothing, until the next reset; `off`: no power. */
export type ChipMode = 'app' | 'download' | 'stub' | 'reset' | 'halted' | 'off';

export interface CommandRecord {
  readonly loader: 'rom' | 'stub';
  readonly opcode: number;
  /** The first 64 bytes of it. */
  readonly payload: Buffer;
  readonly atMs: number;
}

/** The chip's UART, or USB in its place. */
export interface Uart {
  transmit(data: Buffer, baudRate: number, sent?: (atMs: number) => void, notBefore?: number): void;
  /** `auto`: measures the host's rate at the next byte. */
  setRate(rate: number | 'auto'): void;
  /** What was not sent yet is lost. */
  reset(): void;
}

const KEPT_COMMANDS = 20_000;
const KEPT_PAYLOAD_BYTES = 64;
/** The stub's buffer takes a block of 16 KiB and its headers (espressif/esp-flasher-stub src/frame_buffer.c). */
const MAX_FRAME_BYTES = 0x4000 + 64;
const STUB_UNKNOWN_STATUS = 0xff00;
const NEW_CHIP_KEY_PURPOSES = [0, 0, 0, 0, 0, 0, 12];

export class Chip {
  readonly #plan: BoardPlan;
  readonly #faults: FaultSet;
  readonly #uart: Uart;
  #receiver: FrameReceiver | null = null;
  readonly #context: LoaderContext;
  readonly registers: RegisterFile;
  readonly #ram = new Ram();
  #builtReader: BuiltReader | undefined;
  readonly #timers = new Set<() => void>();
  #loader: Loader | null = null;
  #mode: ChipMode = 'off';
  #baudRate = 115200;
  #heldUsbFrame: Buffer = Buffer.alloc(0);
  #cancelWatchdog: (() => void) | null = null;
  commands: CommandRecord[] = [];
  resets = 0;
  /** The watchdog reset the chip: the board looks at its pins and boots it. */
  onWatchdog: () => void = () => undefined;
  /** A loader ended into the app. */
  onSoftwareReset: () => void = () => undefined;

  constructor(plan: BoardPlan, faults: FaultSet, uart: Uart) {
    this.#plan = plan;
    this.#faults = faults;
    this.#uart = uart;
    this.registers = new RegisterFile(
      plan.model,
      plan.identity,
      plan.usb === 'bridge' ? 'uart' : plan.usb,
      plan.flash,
      plan.options.registerPresets ?? new Map<number, number>(),
      {
        watchdogArmed: (delayMs) => this.#armWatchdog(delayMs),
        jedec: () => faults.active('flash-id')?.id ?? plan.flash.jedec,
      },
      this.#ram,
    );
    this.#context = this.#loaderContext();
  }

  get mode(): ChipMode {
    return this.#mode;
  }

  /** Whether a program other than the app has the UART. */
  get loaderRuns(): boolean {
    return this.#mode === 'download' || this.#mode === 'stub' || this.#mode === 'halted';
  }

  /** Stops everything: in reset, or without power. */
  stop(mode: 'reset' | 'off'): void {
    for (const cancel of this.#timers) cancel();
    this.#timers.clear();
    this.#armWatchdog(null);
    this.#loader = null;
    this.#receiver = null;
    this.#heldUsbFrame = Buffer.alloc(0);
    this.#uart.reset();
    this.#mode = mode;
  }

  /** Comes out of reset; in `bootMs` a loader listens or the app runs. */
  boot(download: boolean, reason: ResetReason, forceDownload: boolean): void {
    this.stop('reset');
    this.resets++;
    this.registers.reset(forceDownload);
    const intoLoader =
      this.#faults.active('stuck-in-bootloader') !== undefined ||
      (download && this.#faults.active('wrong-boot-mode') === undefined);
    this.#after(this.#plan.options.bootMs ?? 5, () => {
      if (!intoLoader) this.#startApp(reason);
      else if (this.#plan.identity.downloadDisabled) this.#halt('download-disabled', reason);
      else this.#startRom(reason);
    });
  }

  /** Bytes from the UART; nobody is there to take them unless a loader runs. */
  receive(data: Buffer): void {
    if (this.#faults.active('no-sync') !== undefined) return;
    if (this.#loader?.raw?.(data) === true) return;
    this.#receiver?.push(data);
  }

  /** A ROM that waits has measured the host's rate. */
  rateMeasured(baudRate: number): void {
    this.#baudRate = baudRate;
    this.registers.uartBaudRate = baudRate;
  }

  #startRom(reason: ResetReason): void {
    this.#mode = 'download';
    this.#print('download', reason);
    this.#loader = createRom(this.#context);
    this.#receiver = new FrameReceiver(MAX_FRAME_BYTES, 'begin', (frame) => this.#loader?.frame(frame));
    this.#uart.setRate('auto');
    const watchdogMs = this.#plan.options.armedWatchdogMs;
    if (watchdogMs !== undefined && this.#plan.usb === 'usb-serial-jtag') this.#armWatchdog(watchdogMs);
  }

  #startApp(reason: ResetReason): void {
    const valid = this.#plan.flash.read(this.#plan.model.bootOffset, 1)[0] === 0xe9;
    this.#mode = 'app';
    this.#print(valid ? 'app' : 'no-app', reason);
    this.#uart.setRate(this.#plan.options.appBaudRate ?? 115200);
    if (!valid) return;
    runApp(this.#plan, {
      after: (delayMs, work) => this.#after(delayMs, work),
      print: (text, baudRate) => this.#uart.transmit(Buffer.from(text, 'latin1'), baudRate),
    });
  }

  #halt(outcome: BootOutcome, reason: ResetReason): void {
    this.#mode = 'halted';
    this.#print(outcome, reason);
  }

  #print(outcome: BootOutcome, reason: ResetReason): void {
    const { model } = this.#plan;
    this.#uart.setRate(model.bootLogBaudRate);
    this.#uart.transmit(bootLogOf(model, outcome, reason), model.bootLogBaudRate);
  }

  #loaderContext(): LoaderContext {
    const { model, identity, flash, speeds, clock, options, seed } = this.#plan;
    const noise = seededRandom(seed + 1);
    return {
      model,
      identity,
      flash,
      registers: this.registers,
      ram: this.#ram,
      builtReader: () => (this.#builtReader ??= options.reader ?? builtReader(model.family)),
      faults: this.#faults,
      speeds,
      clock,
      keyPurposes: options.keyPurposes ?? NEW_CHIP_KEY_PURPOSES,
      send: (content, sent, notBefore) => {
        const garbage = this.#faults.active('garbage') !== undefined;
        const frame = garbage ? noise.bytes(content.length + 2) : frameOf(content);
        this.#transmitFrame(frame, sent, notBefore);
      },
      after: (delayMs, work) => this.#after(delayMs, work),
      setBaudRate: (baudRate) => {
        this.#baudRate = baudRate;
        this.registers.uartBaudRate = baudRate;
        this.#uart.setRate(baudRate);
      },
      startStub: () => this.#startStub(),
      runApp: () => this.onSoftwareReset(),
      runs: (loader) => this.#loader === loader,
      hang: () => {
        this.#loader = null;
        this.#mode = 'halted';
      },
      note: (loader, opcode, payload) => this.#note(loader, opcode, payload),
    };
  }

  #startStub(): void {
    this.#mode = 'stub';
    this.#receiver = new FrameReceiver(MAX_FRAME_BYTES, 'end', (frame) => this.#loader?.frame(frame));
    this.#loader = createStub(this.#context, {
      legacy: this.#plan.options.legacyStub ?? false,
      in24Bits: this.#plan.options.smallStub ?? false,
      unknownStatus: STUB_UNKNOWN_STATUS,
    });
  }

  #transmitFrame(frame: Buffer, sent?: (atMs: number) => void, notBefore?: number): void {
    let bytes = frame;
    const longest = this.#faults.active('long-frames')?.bytes ?? Infinity;
    if (bytes.length > longest) bytes = Buffer.concat([bytes.subarray(0, 8), bytes.subarray(9)]);
    if (this.#faults.active('usb-64-stall') !== undefined) {
      bytes = Buffer.concat([this.#heldUsbFrame, frame]);
      this.#heldUsbFrame = bytes.length % 64 === 0 ? bytes : Buffer.alloc(0);
      if (this.#heldUsbFrame.length > 0) bytes = Buffer.alloc(0);
    }
    this.#uart.transmit(bytes, this.#baudRate, sent === undefined ? undefined : this.#unlessReset(sent), notBefore);
  }

  #unlessReset(work: (atMs: number) => void): (atMs: number) => void {
    const loader = this.#loader;
    return (atMs) => {
      if (this.#loader === loader) work(atMs);
    };
  }

  #after(delayMs: number, work: () => void): void {
    if (delayMs <= 0) {
      work();
      return;
    }
    const cancel = this.#plan.clock.schedule(delayMs, () => {
      this.#timers.delete(cancel);
      work();
    });
    this.#timers.add(cancel);
  }

  #armWatchdog(delayMs: number | null): void {
    this.#cancelWatchdog?.();
    this.#cancelWatchdog =
      delayMs === null ? null : this.#plan.clock.schedule(Math.max(delayMs, 0.1), () => this.onWatchdog());
  }

  #note(loader: 'rom' | 'stub', opcode: number, payload: Buffer): void {
    if (this.commands.length >= KEPT_COMMANDS) this.commands.splice(0, KEPT_COMMANDS / 2);
    const kept = Buffer.from(payload.subarray(0, KEPT_PAYLOAD_BYTES));
    this.commands.push({ loader, opcode, payload: kept, atMs: this.#plan.clock.now() });
  }
}
