/**
 * Faults on demand: what real cables, bridges and chips do wrong, switched on by a test at a chosen moment.
 *
 * Byte positions count from the moment at which the fault was added, from 0, in one direction.
 */

export type Direction = 'to-board' | 'to-host';

/** When a fault begins; absent = at once. */
export type When =
  | { readonly direction: Direction; readonly byte: number }
  /** Just before the loader carries out the `nth` (default 1st) command with that opcode. */
  | { readonly opcode: number; readonly nth?: number };

interface ByteFault {
  readonly kind: 'drop' | 'flip' | 'duplicate';
  readonly direction: Direction;
  readonly byte: number;
  /** How many bytes in a row; default 1. */
  readonly count?: number;
  /** Again every so many bytes; default never again. */
  readonly every?: number;
}

/** Something that happens once. */
type EventFault =
  | { readonly kind: 'stall'; readonly durationMs: number; readonly when?: When }
  /** The chip resets by itself (brown-out) and starts its app, or the ROM's download mode if GPIO0 is low. */
  | { readonly kind: 'reset'; readonly when?: When }
  | { readonly kind: 'vanish'; readonly when?: When }
  | { readonly kind: 'flood'; readonly durationMs: number; readonly bytesPerSecond?: number; readonly when?: When };

/** Something that stays until it is removed. */
type LastingFault =
  /** The board sends nothing at all. */
  | { readonly kind: 'mute'; readonly when?: When }
  /** MEM_END is answered, the stub never says OHAI. */
  | { readonly kind: 'no-stub'; readonly when?: When }
  /** The digest that ends a READ_FLASH (`read`), that of SPI_FLASH_MD5 (`md5`), or both are wrong in their last bit. */
  | { readonly kind: 'wrong-digest'; readonly of?: 'read' | 'md5'; readonly when?: When }
  /** A reset with GPIO0 high ends in download mode all the same. */
  | { readonly kind: 'stuck-in-bootloader'; readonly when?: When }
  /** A reset with GPIO0 low starts the app all the same. */
  | { readonly kind: 'wrong-boot-mode'; readonly when?: When }
  /** Download mode prints its boot log and answers nothing. */
  | { readonly kind: 'no-sync'; readonly when?: When }
  /** What READ JEDEC ID gives: 000000 = no flash, ffffff = its pins are in use. */
  | { readonly kind: 'flash-id'; readonly id: readonly [number, number, number]; readonly when?: When }
  /** Every answer is replaced by noise of the same length. */
  | { readonly kind: 'garbage'; readonly when?: When }
  /** The bridge loses a byte of every `every` (default 1000) at host rates above `baudRate`. */
  | { readonly kind: 'loses-above'; readonly baudRate: number; readonly every?: number; readonly when?: When }
  /** READ_FLASH sends all packets but the bytes of this flash address are inverted on the way to the digest and the wire. */
  | { readonly kind: 'read-flip'; readonly address: number; readonly when?: When }
  /** A frame of more than so many bytes, escapes and delimiters included, loses one of them. */
  | { readonly kind: 'long-frames'; readonly bytes: number; readonly when?: When }
  /**
   * An acknowledgement of READ_FLASH that comes while its packet is still on its way is lost, or ends the read behind
   * that packet: stubs of other makers, bridges that do one thing at a time.
   */
  | { readonly kind: 'early-acknowledgement'; readonly effect: 'lost' | 'ends-read'; readonly when?: When }
  /**
   * The reader of `reader/` does something wrong with one frame, counted from 0 over all that it sends since it was
   * loaded: breaks its check, flips a bit of its data and checks that, loses it, sends noise in its place, breaks off in
   * the middle of it or before it for good (`cut`, `hang`). Or, whatever the frame: its self-test gives other bytes, its
   * last frames say another digest, or that the flash could not be read.
   */
  | {
      readonly kind: 'reader';
      readonly effect:
        'wrong-crc' | 'wrong-data' | 'lost' | 'garbage' | 'cut' | 'hang' | 'self-test' | 'wrong-digest' | 'flash-error';
      readonly frame?: number;
      readonly when?: When;
    }
  /** Native USB of some chips: a frame whose end falls on a multiple of 64 bytes is not sent until more follows. */
  | { readonly kind: 'usb-64-stall'; readonly when?: When };

export type Fault = ByteFault | EventFault | LastingFault;
export type FaultEvent = EventFault;
export type LastingKind = LastingFault['kind'];

interface Armed {
  readonly fault: Fault;
  readonly start: { readonly 'to-board': number; readonly 'to-host': number };
  commandsLeft: number;
  active: boolean;
}

export class FaultSet {
  readonly #armed = new Set<Armed>();
  readonly #counts = { 'to-board': 0, 'to-host': 0 };
  /** Called when an event fault falls due by itself or by a command; those due at a byte come from `bytes`. */
  onEvent: (event: FaultEvent) => void = () => undefined;

  /** Returns a function that removes the fault again. */
  add(fault: Fault): () => void {
    const when = 'when' in fault ? fault.when : undefined;
    const armed: Armed = {
      fault,
      start: { ...this.#counts },
      commandsLeft: when !== undefined && 'opcode' in when ? (when.nth ?? 1) : 0,
      active: false,
    };
    this.#armed.add(armed);
    if (!isByteFault(fault) && when === undefined) this.#begin(armed);
    return () => void this.#armed.delete(armed);
  }

  clear(): void {
    this.#armed.clear();
  }

  /** The lasting fault of that kind if it has begun. */
  active<K extends LastingKind>(kind: K): Extract<LastingFault, { kind: K }> | undefined {
    for (const { fault, active } of this.#armed) {
      if (active && fault.kind === kind) return fault as Extract<LastingFault, { kind: K }>;
    }
    return undefined;
  }

  /** The loader is about to carry out a command. */
  command(opcode: number): void {
    for (const armed of [...this.#armed]) {
      const when = 'when' in armed.fault ? armed.fault.when : undefined;
      if (when === undefined || !('opcode' in when) || when.opcode !== opcode || armed.active) continue;
      if (--armed.commandsLeft === 0) this.#begin(armed);
    }
  }

  /**
   * Passes bytes through the byte faults. When a fault falls due in the middle, the bytes behind it come back as `rest`,
   * to be passed on (or lost) as the `event` demands; lasting faults have begun then.
   */
  bytes(direction: Direction, data: Buffer): { passed: Buffer; event: FaultEvent | null; rest: Buffer | null } {
    const from = this.#counts[direction];
    let cut = data.length;
    let due: Armed | undefined;
    let touched = false;
    for (const armed of this.#armed) {
      if (isByteFault(armed.fault)) {
        touched ||= armed.fault.direction === direction;
        continue;
      }
      const when = armed.fault.when;
      if (armed.active || when === undefined || !('byte' in when) || when.direction !== direction) continue;
      const at = armed.start[direction] + when.byte - from;
      if (at < cut) {
        cut = Math.max(at, 0);
        due = armed;
      }
    }
    const taken = data.subarray(0, cut);
    this.#counts[direction] += cut;
    const passed = touched ? this.#damage(direction, taken, from) : taken;
    if (due === undefined) return { passed, event: null, rest: null };
    return { passed, event: this.#begun(due), rest: data.subarray(cut) };
  }

  #damage(direction: Direction, data: Buffer, from: number): Buffer {
    const out: number[] = [];
    for (const [index, byte] of data.entries()) {
      let copies = 1;
      let value = byte;
      for (const { fault, start } of this.#armed) {
        if (!isByteFault(fault) || fault.direction !== direction) continue;
        const since = from + index - start[direction] - fault.byte;
        const position = fault.every === undefined ? since : since % fault.every;
        if (since < 0 || position >= (fault.count ?? 1)) continue;
        if (fault.kind === 'flip') value ^= 1 << (index % 8);
        else copies = fault.kind === 'drop' ? 0 : 2;
      }
      for (let copy = 0; copy < copies; copy++) out.push(value);
    }
    return Buffer.from(out);
  }

  #begin(armed: Armed): void {
    const event = this.#begun(armed);
    if (event !== null) this.onEvent(event);
  }

  /** A lasting fault is active from now on; an event is over with its telling. */
  #begun(armed: Armed): FaultEvent | null {
    armed.active = true;
    const { fault } = armed;
    if (!isEvent(fault)) return null;
    this.#armed.delete(armed);
    return fault;
  }
}

function isEvent(fault: Fault): fault is EventFault {
  return ['stall', 'reset', 'vanish', 'flood'].includes(fault.kind);
}

function isByteFault(fault: Fault): fault is ByteFault {
  return fault.kind === 'drop' || fault.kind === 'flip' || fault.kind === 'duplicate';
}
