/** The ports that are there, as the listing says. */

import type { Mac } from '../mac.ts';
import { type Slots, ownUsbMac, slotKey } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';
import { notAttached, notKnownAt } from './port-errors.ts';

export class AttachedPorts {
  readonly #ports = new Map<string, PortInfo>();

  get all(): readonly PortInfo[] {
    return [...this.#ports.values()];
  }

  came(port: PortInfo): void {
    this.#ports.set(port.address, port);
  }

  went(address: string): void {
    this.#ports.delete(address);
  }

  /** The same plug-in, as far as the listing knows. */
  has({ address, key }: PortInfo): boolean {
    return this.#ports.get(address)?.key === key;
  }

  get(address: string): PortInfo | undefined {
    return this.#ports.get(address);
  }

  /** By any of its names. @throws EspdError `port-missing` */
  named(name: string): PortInfo {
    const port = this.#find(name);
    if (port === undefined) throw notAttached(name, this.all);
    return port;
  }

  /** The address of a port by any of its names; the name itself where no such port is there. */
  addressOf(name: string): string {
    return this.#find(name)?.address ?? name;
  }

  #find(name: string): PortInfo | undefined {
    return this.all.find(({ address, aliases }) => address === name || aliases?.includes(name) === true);
  }

  /** Where a board was found last, or says by its USB that it is. @throws EspdError `board-not-found` */
  withBoard(mac: Mac, slots: Pick<Slots, 'macAt'>): PortInfo {
    const port = this.all.find((each) => (ownUsbMac(each) ?? slots.macAt(each)) === mac);
    if (port === undefined) throw notKnownAt(mac);
    return port;
  }

  /** What is at this place to plug in. */
  inSlot(key: string): PortInfo | undefined {
    return this.all.find((port) => slotKey(port) === key);
  }
}
