/**
 * A byte link to one board: all that `esp/` ever sees of a serial port.
 *
 * The comments here are the contract; `test/serial/link-conformance.ts` checks it against every implementation.
 */

/** Modem control lines as the host asserts them (true = asserted). What they do to a board is `esp/reset.ts`'s matter. */
export interface ControlLines {
  readonly dtr: boolean;
  readonly rts: boolean;
}

export interface LinkCapabilities {
  /** DTR and RTS reach the board. False on raw TCP and on a pty: no reset is possible and none must be tried. */
  readonly controlLines: boolean;
  /** The baud rate can be changed. False on raw TCP. */
  readonly baudRate: boolean;
}

/** USB facts of a port, where the system knows them. Strings come from the device: hostile, already made printable. */
export interface UsbFacts {
  /** Lower-case hex, four digits. */
  readonly vendorId: string;
  /** Lower-case hex, four digits. */
  readonly productId: string;
  readonly serialNumber: string | null;
  readonly manufacturer: string | null;
  readonly product: string | null;
  /** Physical place of the plug, e.g. `1-1.4:1.0`: the identity of a slot, stable over re-enumeration. */
  readonly location: string | null;
}

export interface Link {
  /** The address as the person wrote it or the listing gave it: `/dev/ttyUSB0`, `rfc2217://host:4000`. */
  readonly address: string;
  readonly capabilities: LinkCapabilities;
  /** The rate in force, in baud; on links without a rate the one they were opened with. */
  readonly baudRate: number;
  readonly isOpen: boolean;

  /**
   * Hands `data` to the system, in order. Resolves when the system has taken it (not when the wire has carried it).
   * Rejects with `port-vanished` when the link is or becomes closed, also when the system never answers.
   */
  write(data: Uint8Array): Promise<void>;

  /**
   * The next bytes that have arrived: at least one, in order, each once. Null when nothing came for `timeoutMs`
   * (0 = only what is there already). One read at a time. Rejects with `port-vanished` once the link is closed and
   * all that had arrived is read, with the signal's reason when it is aborted, and with `port-flooded` when the
   * device sends faster than it is read for longer than the buffer (at least 1 MiB) lasts.
   */
  read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null>;

  /** Forgets everything that has arrived and is not read, here and where possible in the system and the far end. */
  purge(): Promise<void>;

  /** Waits until what was written has left, then changes the rate. Nothing on links without `capabilities.baudRate`. */
  setBaudRate(baudRate: number): Promise<void>;

  /**
   * Whether the port can do a rate: false where its driver refuses it or rounds it by more than two percent, as some do
   * with what is too high for their bridge. The rate in force stays. Only while nothing is on its way. Missing where
   * nobody can be asked.
   */
  canDoBaudRate?(baudRate: number): Promise<boolean>;

  /** Sets both lines in one step. Nothing on links without `capabilities.controlLines`. */
  setControlLines(lines: ControlLines): Promise<void>;

  /** Ends the link; never rejects, may be called again, returns within two seconds whatever the device does. */
  close(): Promise<void>;
}
