/** Who has logged in: sessions by a random cookie, in memory, bounded in number and time. */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../clock.ts';

export interface Session {
  /** What requests that change something must carry besides the cookie. */
  readonly csrf: string;
  /** By which secret it was opened: it ends when that one is not in force any more. */
  readonly credential: string;
}

interface Kept extends Session {
  readonly openedMs: number;
  usedMs: number;
}

/** Without a request for so long. A wall that only listens to events asks for nothing for days. */
const IDLE_MS = 7 * 24 * 3600_000;
/** However busy. */
const LIFE_MS = 30 * 24 * 3600_000;
/** The one that was used longest ago goes first. */
const MOST_SESSIONS = 200;

export function randomSecret(): string {
  return randomBytes(32).toString('base64url');
}

/** Equal texts, in a time that tells nothing of where they differ. */
export function isSame(one: string, other: string): boolean {
  return timingSafeEqual(digestOf(one), digestOf(other));
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

export class Sessions {
  readonly #clock: Clock;
  /** By the digest of the cookie's value: to look one up tells nothing of the others. */
  readonly #sessions = new Map<string, Kept>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns the value of the cookie */
  open(credential: string): string {
    const id = randomSecret();
    const nowMs = this.#clock.now();
    this.#sessions.set(keyOf(id), { csrf: randomSecret(), credential, openedMs: nowMs, usedMs: nowMs });
    const [oldest] = this.#sessions.keys();
    if (this.#sessions.size > MOST_SESSIONS && oldest !== undefined) this.#sessions.delete(oldest);
    return id;
  }

  /** @param credential the secret that is in force */
  find(id: string | undefined, credential: string | null): Session | undefined {
    if (id === undefined) return undefined;
    const key = keyOf(id);
    const session = this.#sessions.get(key);
    if (session === undefined) return undefined;
    const nowMs = this.#clock.now();
    this.#sessions.delete(key);
    const isOver = nowMs - session.usedMs > IDLE_MS || nowMs - session.openedMs > LIFE_MS;
    if (isOver || session.credential !== credential) return undefined;
    session.usedMs = nowMs;
    this.#sessions.set(key, session);
    return session;
  }

  close(id: string | undefined): void {
    if (id !== undefined) this.#sessions.delete(keyOf(id));
  }
}

function keyOf(id: string): string {
  return digestOf(id).toString('base64');
}
