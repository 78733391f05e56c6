/** A simulated board as a wire sees it; what serves it to the world (memory, TCP, RFC 2217, pty) needs no more. */

import type { ControlLines } from '../serial/link.ts';

export interface BoardPort {
  /** Bytes from the host, at the host's present baud rate. */
  receive(data: Uint8Array): void;
  /** What the host asserts now; the board's transistors or its USB peripheral make EN and GPIO0 of it. */
  setControlLines(lines: ControlLines): void;
  /** The host's rate. A board that talks at another one sends and receives garbage. */
  setBaudRate(baudRate: number): void;
  /** Takes what the board sends; undefined = nobody listens, the bytes are lost. One listener. */
  onTransmit: ((data: Buffer) => void) | undefined;
  /** Called when the board's USB side goes away (unplugged, or native USB re-enumerating); the server drops the link. */
  onVanish: (() => void) | undefined;
}
