/** Counts what crosses a link: the wire bytes of a job. */

import type { ControlLines, Link, LinkCapabilities } from './link.ts';

/** A link with counters of the bytes that went through this decorator; framing and escapes of the link do not count. */
export interface CountingLink extends Link {
  /** Bytes handed up by `read`. */
  readonly bytesRead: number;
  /** Bytes handed down by `write`, also where the write failed afterwards. */
  readonly bytesWritten: number;
}

export function countBytes(link: Link): CountingLink {
  return new Counter(link);
}

class Counter implements CountingLink {
  readonly canDoBaudRate?: (baudRate: number) => Promise<boolean>;
  readonly #link: Link;
  #bytesRead = 0;
  #bytesWritten = 0;

  constructor(link: Link) {
    this.#link = link;
    if (link.canDoBaudRate !== undefined) this.canDoBaudRate = link.canDoBaudRate.bind(link);
  }

  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get address(): string {
    return this.#link.address;
  }

  get capabilities(): LinkCapabilities {
    return this.#link.capabilities;
  }

  get baudRate(): number {
    return this.#link.baudRate;
  }

  get isOpen(): boolean {
    return this.#link.isOpen;
  }

  write(data: Uint8Array): Promise<void> {
    this.#bytesWritten += data.length;
    return this.#link.write(data);
  }

  async read(timeoutMs: number, signal?: AbortSignal): Promise<Buffer | null> {
    const chunk = await this.#link.read(timeoutMs, signal);
    if (chunk !== null) this.#bytesRead += chunk.length;
    return chunk;
  }

  purge(): Promise<void> {
    return this.#link.purge();
  }

  setBaudRate(baudRate: number): Promise<void> {
    return this.#link.setBaudRate(baudRate);
  }

  setControlLines(lines: ControlLines): Promise<void> {
    return this.#link.setControlLines(lines);
  }

  close(): Promise<void> {
    return this.#link.close();
  }
}
