/** The one bus of the service: events in the order in which they happened, the last ones kept for whoever comes late. */

import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Logger } from '../log.ts';
import type { EventBody, ServiceEvent } from './event-types.ts';

/** So many events are kept. */
export const RING_EVENTS = 4096;

/** Must not throw, and must not wait: the service goes on when it has returned. */
export type EventListener = (event: ServiceEvent) => void;

export interface EventSource {
  /** Another one after each start of the service: numbers of two instances have nothing to do with each other. */
  readonly instance: string;
  /** Number of the last event; 0 before the first. */
  readonly lastSeq: number;
  /** @returns ends the subscription */
  subscribe(listener: EventListener): () => void;
  /**
   * The events after number `seq` that are kept, oldest first.
   * @returns `isComplete` false where some of them are not kept any more, or `seq` is of another instance
   */
  since(seq: number): { readonly events: readonly ServiceEvent[]; readonly isComplete: boolean };
}

export class EventBus implements EventSource {
  readonly instance: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #listeners = new Set<EventListener>();
  /** Event number n stands at (n - 1) modulo {@link RING_EVENTS}. */
  readonly #ring: ServiceEvent[] = [];
  readonly #waiting: ServiceEvent[] = [];
  #isTelling = false;
  #lastSeq = 0;

  constructor(parts: { readonly clock: Clock; readonly log: Logger }, instance: string = randomUUID()) {
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.instance = instance;
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /**
   * Tells all subscribers, in the order in which they came. What a subscriber emits meanwhile comes after: everybody
   * sees the same order. One that throws is logged, and harms nobody.
   */
  emit(body: EventBody): void {
    const event: ServiceEvent = { seq: ++this.#lastSeq, at: this.#clock.date().toISOString(), ...body };
    this.#ring[(event.seq - 1) % RING_EVENTS] = event;
    this.#waiting.push(event);
    if (this.#isTelling) return;
    this.#isTelling = true;
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) this.#tell(next);
    this.#isTelling = false;
  }

  subscribe(listener: EventListener): () => void {
    // One function may subscribe twice.
    const own: EventListener = (event) => listener(event);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  since(seq: number): { events: readonly ServiceEvent[]; isComplete: boolean } {
    const first = Math.max(1, this.#lastSeq - RING_EVENTS + 1);
    const isKnown = Number.isSafeInteger(seq) && seq >= 0 && seq <= this.#lastSeq;
    const from = isKnown ? Math.max(seq + 1, first) : first;
    const events: ServiceEvent[] = [];
    for (let at = from; at <= this.#lastSeq; at++) {
      const event = this.#ring[(at - 1) % RING_EVENTS];
      if (event !== undefined) events.push(event);
    }
    return { events, isComplete: isKnown && seq + 1 >= first };
  }

  #tell(event: ServiceEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event);
      } catch (error) {
        this.#log.error('A subscriber of events failed', { type: event.type, reason: String(error) });
      }
    }
  }
}
