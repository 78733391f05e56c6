/** A local serial port over serialport's native binding, without serialport's stream around it. */

import type { SerialPort } from 'serialport';
import { sleep, withTimeout } from '../clock.ts';
import { EspdError, systemCode } from '../errors.ts';
import type { ControlLines, Link, LinkCapabilities } from './link.ts';
import { closedByUs, type LinkOptions, nextPoll, transferLimitMs, vanished, wireTimeMs } from './link-common.ts';
import type { LinuxTty } from './linux-tty.ts';
import type { PortLock } from './lock.ts';
import { ReceiveBuffer } from './receive-buffer.ts';
import { type TtyPoller, TtyStream } from './tty-stream.ts';

/** Limit for calls that do not depend on the number of bytes: a rate change, the lines, a flush. */
const CALL_TIMEOUT_MS = 3000;
/** The contract gives `close` two seconds: one for bytes still on their way out, the rest for the system. */
const CLOSE_DRAIN_TIMEOUT_MS = 700;
const CLOSE_TIMEOUT_MS = 1000;
/** Between two looks at an output queue that ought to be empty soon. */
const DRAIN_POLL_MS = 2;
const WINDOWS_READ_BYTES = 64 * 1024;
const RELEASED: ControlLines = { dtr: false, rts: false };

/** An open port of serialport's binding for this platform. */
export type BindingPort = Awaited<ReturnType<(typeof SerialPort)['binding']['open']>>;

/** The binding of a Unix: its file descriptor and poller can be used directly. */
interface UnixBindingPort {
  readonly fd: number | null;
  readonly poller: TtyPoller;
}

/** What bytes go through: the descriptor itself on Unix, the binding's calls on Windows. */
interface ByteStream {
  readonly pendingBytes: number;
  write(data: Uint8Array): Promise<void>;
  stop(cause?: Error): void;
}

export class SerialPortLink implements Link {
  readonly address: string;
  readonly #options: LinkOptions;
  readonly #port: BindingPort;
  readonly #tty: LinuxTty | undefined;
  readonly #lock: PortLock;
  readonly #received: ReceiveBuffer;
  readonly #stream: ByteStream;
  #capabilities: LinkCapabilities = { controlLines: false, baudRate: true };
  #baudRate: number;
  #modemBits = 0;
  #end: EspdError | undefined;
  #releasing: Promise<void> | undefined;
  /**
   * Settles when no call on the descriptor is under way. A call that is queued while the descriptor is closed would
   * hit whatever port gets the same number next: another board.
   */
  #calls: Promise<unknown> = Promise.resolve();

  /** Takes over `port` (open, locked) and `lock`. {@link prepare} must follow. */
  constructor(address: string, port: BindingPort, tty: LinuxTty | undefined, lock: PortLock, options: LinkOptions) {
    this.address = address;
    this.#port = port;
    this.#tty = isUnix(port) ? tty : undefined;
    this.#lock = lock;
    this.#options = options;
    this.#baudRate = options.baudRate;
    this.#received = new ReceiveBuffer(address, options.clock);
    const events = {
      data: (chunk: Buffer) => this.#received.push(chunk),
      ended: (cause: Error) => this.#finish(vanished(address, cause)),
    };
    this.#stream = isUnix(port) ? new TtyStream(descriptorOf(port), port.poller, events) : readAll(port, events);
  }

  get capabilities(): LinkCapabilities {
    return this.#capabilities;
  }

  get baudRate(): number {
    return this.#baudRate;
  }

  get isOpen(): boolean {
    return this.#end === undefined;
  }

  /** Makes the port exclusive, finds out whether it has control lines, and releases both unless they are to be kept. */
  async prepare(keepControlLines: boolean): Promise<void> {
    const { log } = this.#options;
    try {
      this.#tty?.setExclusive(this.#fd, true);
    } catch (error) {
      log.debug('TIOCEXCL failed', { port: this.address, error: String(error) });
    }
    try {
      if (this.#tty !== undefined) this.#modemBits = await this.#call(this.#tty.modemBits(this.#fd));
      else await this.#call(this.#port.get());
      if (!keepControlLines) await this.#applyLines(RELEASED);
      this.#capabilities = { ...this.#capabilities, controlLines: true };
    } catch (error) {
      this.#throwIfEnded();
      const expected =
        ['ENOTTY', 'EINVAL'].includes(systemCode(error) ?? '') || /inappropriate ioctl/i.test(String(error));
      if (expected) log.debug('the port has no control lines', { port: this.address });
      else
        log.warn('the control lines cannot be set: no reset of this board', {
          port: this.address,
          error: String(error),
        });
    }
    await this.#checkRate(this.#baudRate);
  }

  async write(data: Uint8Array): Promise<void> {
    this.#throwIfEnded();
    const written = this.#stream.write(data);
    const { pendingBytes } = this.#stream;
    const stuck = () => vanished(this.address, undefined, 'does not take any data');
    try {
      // Mostly the kernel has taken it all by now: no timer then.
      if (pendingBytes === 0) await written;
      else await withTimeout(this.#options.clock, transferLimitMs(pendingBytes, this.#baudRate), written, stuck);
    } catch (error) {
      if (error instanceof EspdError) this.#finish(error);
      this.#rethrow(error);
    }
  }

  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    return this.#received.read(timeoutMs, signal);
  }

  async purge(): Promise<void> {
    this.#throwIfEnded();
    if (this.#tty !== undefined) {
      this.#tty.discardInput(this.#fd);
    } else {
      // serialport's flush forgets both directions: let our own bytes leave first.
      await this.#drain(CALL_TIMEOUT_MS);
      await this.#call(this.#port.flush());
    }
    await nextPoll();
    this.#throwIfEnded();
    this.#received.clear();
  }

  async setBaudRate(baudRate: number): Promise<void> {
    this.#throwIfEnded();
    // The rate change flushes what is in the kernel's buffers (bindings-cpp: tcflush before tcsetattr).
    await this.#drain(transferLimitMs(0, this.#baudRate));
    await this.#call(this.#port.update({ baudRate }));
    this.#baudRate = baudRate;
    await this.#checkRate(baudRate);
  }

  /** Sets the rate and asks the driver (TCGETS2 on Linux) what it made of it: cp210x, for one, stops at its chip's limit. */
  async canDoBaudRate(baudRate: number): Promise<boolean> {
    this.#throwIfEnded();
    const before = this.#baudRate;
    await this.#drain(transferLimitMs(0, before));
    try {
      await this.#call(this.#port.update({ baudRate }));
      const facts = await this.#call(this.#port.getBaudRate()).catch(() => undefined);
      const actual = facts?.baudRate ?? baudRate;
      return actual <= 0 || Math.abs(actual - baudRate) <= baudRate * 0.02;
    } catch {
      this.#throwIfEnded();
      return false;
    } finally {
      await this.#call(this.#port.update({ baudRate: before }));
    }
  }

  async setControlLines(lines: ControlLines): Promise<void> {
    if (!this.#capabilities.controlLines) return;
    this.#throwIfEnded();
    await this.#applyLines(lines);
  }

  async close(): Promise<void> {
    if (this.#end === undefined) {
      this.#end = closedByUs(this.address);
      this.#received.end(this.#end);
      await this.#drainForClose();
      this.#stream.stop();
    }
    this.#releasing ??= this.#release();
    await withTimeout(this.#options.clock, CLOSE_TIMEOUT_MS, this.#releasing, () => new Error('close hangs')).catch(
      () => this.#options.log.warn('the port does not close; leaving it to the system', { port: this.address }),
    );
  }

  get #fd(): number {
    return isUnix(this.#port) ? descriptorOf(this.#port) : -1;
  }

  /** By TIOCMSET where possible: serialport clears BREAK first, which the kernel refuses on CDC-ACM ports (issue 2777). */
  async #applyLines(lines: ControlLines): Promise<void> {
    if (this.#tty !== undefined) await this.#call(this.#tty.setControlLines(this.#fd, this.#modemBits, lines));
    // Both always: what is left out here would be asserted.
    else await this.#call(this.#port.set({ dtr: lines.dtr, rts: lines.rts, brk: false, cts: false, dsr: false }));
  }

  /** `work` on the descriptor with a time limit; a failure because the device is gone ends the link. */
  async #call<T>(work: Promise<T>): Promise<T> {
    this.#calls = Promise.allSettled([this.#calls, work]);
    try {
      return await withTimeout(
        this.#options.clock,
        CALL_TIMEOUT_MS,
        work,
        () => new EspdError('port-failed', `${this.address}: the driver does not answer`),
      );
    } catch (error) {
      if (isGone(error)) this.#finish(vanished(this.address, error));
      this.#throwIfEnded();
      throw error;
    }
  }

  /** Waits until everything written has left. Never asks the kernel to wait for a stuck device: that would hold a thread. */
  async #drain(limitMs: number): Promise<void> {
    const { clock } = this.#options;
    const giveUpMs = clock.now() + limitMs;
    for (let queued = this.#queuedBytes(); queued > 0; queued = this.#queuedBytes()) {
      if (clock.now() >= giveUpMs) throw new EspdError('port-failed', `${this.address} does not take any data`);
      await sleep(clock, Math.max(DRAIN_POLL_MS, Math.min(wireTimeMs(queued, this.#baudRate), giveUpMs - clock.now())));
      this.#throwIfEnded();
    }
    await this.#call(this.#port.drain());
  }

  #queuedBytes(): number {
    const inKernel = this.#tty === undefined || !this.#port.isOpen ? 0 : this.#tty.outputQueueBytes(this.#fd);
    return this.#stream.pendingBytes + inKernel;
  }

  /** The kernel would wait up to 30 s for a stuck device (closing_wait, Documentation of tty_port): forget its bytes instead. */
  async #drainForClose(): Promise<void> {
    if (this.#tty === undefined) return;
    const { clock } = this.#options;
    const giveUpMs = clock.now() + CLOSE_DRAIN_TIMEOUT_MS;
    try {
      while (this.#queuedBytes() > 0 && clock.now() < giveUpMs) await sleep(clock, DRAIN_POLL_MS);
      if (this.#queuedBytes() > 0) this.#tty.discardOutput(this.#fd);
    } catch {
      // The device is gone: nothing to wait for.
    }
  }

  /** Warns, and notes the rate in force, where the driver has set another one than was asked for (its maximum, mostly). */
  async #checkRate(asked: number): Promise<void> {
    const facts = await this.#call(this.#port.getBaudRate()).catch(() => undefined);
    const actual = facts?.baudRate ?? asked;
    // Dividers round: CH340 makes 75000 of 74880. Three percent is what a UART tolerates.
    if (actual <= 0 || Math.abs(actual - asked) <= asked * 0.03) return;
    this.#baudRate = actual;
    this.#options.log.warn('the port does not do this baud rate', { port: this.address, asked, actual });
  }

  #finish(error: EspdError): void {
    if (this.#end !== undefined) return;
    this.#end = error;
    this.#stream.stop(error);
    this.#received.end(error);
    // At once: as long as it is open, a re-plugged device gets another name.
    this.#releasing ??= this.#release();
  }

  /** Closes the descriptor as soon as no call uses it, then gives the lock back. */
  async #release(): Promise<void> {
    await this.#calls;
    try {
      if (this.#tty !== undefined && this.#port.isOpen) this.#tty.setExclusive(this.#fd, false);
    } catch {
      // The device is gone, and its exclusiveness with it.
    }
    await this.#port.close().catch((error: unknown) => {
      this.#options.log.debug('closing failed', { port: this.address, error: String(error) });
    });
    await this.#lock.release();
  }

  #throwIfEnded(): void {
    if (this.#end !== undefined) throw this.#end;
  }

  #rethrow(error: unknown): never {
    this.#throwIfEnded();
    throw error;
  }
}

function isUnix<T extends BindingPort>(port: T): port is T & UnixBindingPort {
  return 'poller' in port && 'fd' in port;
}

function descriptorOf(port: UnixBindingPort): number {
  if (port.fd === null) throw new EspdError('internal', 'the descriptor of a closed port was asked for');
  return port.fd;
}

/**
 * What the system calls a device that is not there any more. The last four come from the USB core through drivers that
 * do not translate them, cdc_acm for one (Documentation/driver-api/usb/error-codes.rst of the kernel; ESHUTDOWN was seen).
 */
const GONE = new Set(['EIO', 'ENODEV', 'ENXIO', 'EBADF', 'ESHUTDOWN', 'EPROTO', 'EILSEQ', 'ENOENT']);

function isGone(error: unknown): boolean {
  if (GONE.has(systemCode(error) ?? '')) return true;
  return (
    error instanceof Error && /input\/output error|no such device|bad file descriptor|not open/i.test(error.message)
  );
}

/** Reading on Windows, where the binding waits by itself. */
function readAll(port: BindingPort, events: { data(chunk: Buffer): void; ended(cause: Error): void }): ByteStream {
  let stopped = false;
  let pendingBytes = 0;
  let last: Promise<void> = Promise.resolve();
  const fail = (cause: unknown) => {
    if (!stopped) events.ended(cause instanceof Error ? cause : new Error(String(cause)));
  };
  const pump = async () => {
    while (!stopped) {
      const { buffer, bytesRead } = await port.read(Buffer.allocUnsafeSlow(WINDOWS_READ_BYTES), 0, WINDOWS_READ_BYTES);
      if (bytesRead === 0) throw new Error('the port was hung up');
      // A copy: the piece of memory is large, and most reads are small.
      events.data(Buffer.from(buffer.subarray(0, bytesRead)));
    }
  };
  void pump().catch(fail);
  return {
    get pendingBytes() {
      return pendingBytes;
    },
    write(data) {
      pendingBytes += data.length;
      last = last
        .then(() => port.write(Buffer.from(data.buffer, data.byteOffset, data.length)))
        .finally(() => (pendingBytes -= data.length));
      last.catch(fail);
      return last;
    },
    stop() {
      stopped = true;
    },
  };
}
