/** How often a secret may be guessed: by each address, and by all together. */

import { isIPv6 } from 'node:net';
import type { Clock } from '../clock.ts';

/** A person who mistypes waits for nothing. */
const FREE_FAILURES = 5;
const FIRST_WAIT_MS = 2000;
const LONGEST_WAIT_MS = 15 * 60_000;
/** Without a failure for so long all is forgotten. */
const FORGET_MS = 60 * 60_000;
/** Of many addresses together: so many failures in a minute. */
const MOST_A_MINUTE = 60;
const MOST_ADDRESSES = 1000;

interface Failures {
  count: number;
  lastMs: number;
  /** Nothing is tried before. */
  untilMs: number;
}

export class LoginLimit {
  readonly #clock: Clock;
  readonly #byAddress = new Map<string, Failures>();
  /** When each of the last failures happened, whoever it was. */
  #recentMs: number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long to wait before another trial; 0 = now. In ms. */
  waitMs(address: string): number {
    const nowMs = this.#clock.now();
    const failures = this.#byAddress.get(sourceOf(address));
    const own = failures === undefined ? 0 : failures.untilMs - nowMs;
    this.#recentMs = this.#recentMs.filter((atMs) => nowMs - atMs < 60_000);
    const [first = 0] = this.#recentMs;
    const all = this.#recentMs.length < MOST_A_MINUTE ? 0 : first + 60_000 - nowMs;
    return Math.max(0, own, all);
  }

  failed(address: string): void {
    const nowMs = this.#clock.now();
    const source = sourceOf(address);
    const before = this.#byAddress.get(source);
    const isForgotten = before === undefined || nowMs - before.lastMs > FORGET_MS;
    const count = (isForgotten ? 0 : before.count) + 1;
    const over = count - FREE_FAILURES;
    const waitMs = over < 0 ? 0 : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** Math.min(over, 20));
    this.#byAddress.delete(source);
    this.#byAddress.set(source, { count, lastMs: nowMs, untilMs: nowMs + waitMs });
    const [oldest] = this.#byAddress.keys();
    if (this.#byAddress.size > MOST_ADDRESSES && oldest !== undefined) this.#byAddress.delete(oldest);
    this.#recentMs.push(nowMs);
    if (this.#recentMs.length > MOST_A_MINUTE) this.#recentMs.shift();
  }

  succeeded(address: string): void {
    this.#byAddress.delete(sourceOf(address));
  }
}

/** Whoever has one address of IPv6 has the whole /64 (RFC 6177). */
function sourceOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('%')[0]?.split('::') ?? [];
  const groups = head === '' ? [] : head.split(':');
  const behind = tail === undefined || tail === '' ? [] : tail.split(':');
  const all = [...groups, ...Array<string>(Math.max(0, 8 - groups.length - behind.length)).fill('0'), ...behind];
  return all.slice(0, 4).join(':');
}
