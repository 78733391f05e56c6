/** Ports that are somebody else's for a while: what becomes of the daemon's jobs there, and of boards plugged in meanwhile. */

import { type Clock, unlessAborted } from '../clock.ts';
import { EspdError } from '../errors.ts';
import { type Slots, slotKey } from '../plugs/slots.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { AttachedPorts } from './attached.ts';
import type { BoardJobs, Visit } from './board-jobs.ts';
import type { EventBody } from './event-types.ts';
import { type Hold, type HoldRequest, Holds, type TakeRequest, type TakenPort } from './holds.ts';
import { heldBy } from './port-errors.ts';

export interface CustodyParts {
  readonly clock: Clock;
  readonly emit: (event: EventBody) => void;
  readonly jobs: BoardJobs;
  readonly slots: Slots;
  readonly attached: AttachedPorts;
  /** Nothing waits for the port any more, nor is tried again there. @returns what was yet to come */
  readonly giveUp: (address: string) => Visit | undefined;
  /** A port is free again, and is to be looked at. */
  readonly consider: (visit: Visit) => void;
}

export class Custody {
  readonly #parts: CustodyParts;
  readonly #holds: Holds;
  /** Given up, or plugged in, while somebody held the port: considered when it is released. By the address of the hold. */
  readonly #owed = new Map<string, Visit>();
  /** Where the held ports are plugged in: a board that is reset may come back with another address. */
  readonly #places = new Map<string, string>();

  constructor(parts: CustodyParts) {
    const { clock, emit } = parts;
    this.#parts = parts;
    this.#holds = new Holds({ clock, emit, onReleased: ({ port }) => this.#onReleased(port) });
  }

  get all(): readonly Hold[] {
    return this.#holds.all;
  }

  /** Who holds the port, or the place where it is plugged in. */
  at(port: PortInfo): Hold | undefined {
    const byAddress = this.#holds.at(port.address);
    if (byAddress !== undefined) return byAddress;
    const byAlias = port.aliases?.map((alias) => this.#holds.at(alias)).find((hold) => hold !== undefined);
    if (byAlias !== undefined) return byAlias;
    const key = slotKey(port);
    const [address] = [...this.#places].find(([, place]) => place === key) ?? [];
    return address === undefined ? undefined : this.#holds.at(address);
  }

  /**
   * Keeps the daemon off a port, which need not be there. A job that runs there goes on.
   * @param name address of the port, or another name of it
   * @throws EspdError `port-busy` where somebody else holds it
   */
  hold(name: string, request: HoldRequest): Hold {
    const { attached, giveUp } = this.#parts;
    const address = this.#addressOf(name);
    const hold = this.#holds.hold(address, request);
    const port = attached.get(address);
    if (port !== undefined) this.#places.set(address, slotKey(port));
    const waiting = giveUp(address);
    if (waiting !== undefined) this.owe(waiting);
    return hold;
  }

  /** @returns false where it was not held */
  release(name: string): boolean {
    return this.#holds.release(this.#addressOf(name));
  }

  /**
   * Takes a port for another program, which may reset its board: waits until the daemon's own job there has ended.
   * @throws EspdError `port-busy` where it is held; the signal's reason
   */
  async take(name: string, request: TakeRequest): Promise<TakenPort> {
    const { jobs } = this.#parts;
    const address = this.#addressOf(name);
    const held = this.#holds.at(address);
    if (held !== undefined && request.mayProlong !== true) throw heldBy(held);
    const hold = this.hold(address, request);
    const job = jobs.at(address);
    try {
      if (job !== undefined) {
        request.onWait?.();
        if (request.now === true) {
          this.owe(job.visit);
          jobs.cancel(job, new EspdError('interrupted', `${address} was asked for by ${request.by}`));
        }
        await unlessAborted(job.ended, request.signal);
      }
      request.signal?.throwIfAborted();
    } catch (error) {
      this.#holds.release(address, hold);
      throw error;
    }
    return { hold, giveBack: (how) => this.#giveBack(hold, how === 'lost') };
  }

  /** A port that is held, and is to be looked at once it is released. */
  owe({ port, isRound }: Visit): void {
    const visit = { port, inDownloadMode: false, ...(isRound === true && { isRound }) };
    this.#owed.set(this.at(port)?.port ?? port.address, visit);
  }

  /** It is not there any more. */
  forget(address: string): void {
    for (const [held, { port }] of this.#owed) if (port.address === address) this.#owed.delete(held);
  }

  close(): void {
    this.#holds.close();
  }

  /** A port that was held by another name of it, before it was there, is held by that name. */
  #addressOf(name: string): string {
    return this.#holds.at(name) === undefined ? this.#parts.attached.addressOf(name) : name;
  }

  #giveBack(hold: Hold, isLost: boolean): void {
    const { attached, clock, slots } = this.#parts;
    const port = attached.get(hold.port);
    if (port !== undefined) {
      if (isLost) this.owe({ port, inDownloadMode: false });
      const mac = slots.macAt(port);
      slots.started(port);
      if (mac !== undefined) slots.identified(port, mac);
      slots.released(port, clock.now(), 'app');
    }
    this.#holds.release(hold.port, hold);
  }

  #onReleased(address: string): void {
    const { attached, consider } = this.#parts;
    const owed = this.#owed.get(address);
    this.#owed.delete(address);
    this.#places.delete(address);
    if (owed !== undefined && attached.has(owed.port)) consider(owed);
  }
}
