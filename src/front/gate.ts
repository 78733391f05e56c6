/** How people prove to the page who they are: by the link of `espd web`, or by a password. */

import { EspdError } from '../errors.ts';
import { type CredentialsFile, isPassword, isToken } from './credentials.ts';
import { LoginLimit } from './login-limit.ts';
import type { Clock } from '../clock.ts';
import { isSame, randomSecret } from './sessions.ts';

/** @throws by its functions: EspdError `login-refused`, `login-limited` ({@link LimitedError}), `listen-refused` */
export interface Gate {
  readonly kind: 'link' | 'password';
  /** Names the secret that is in force: sessions opened by another one are over. Null = there is none. */
  credential(): Promise<string | null>;
  /** Whether the token is that of a link that nobody has used. */
  takeLink(token: string): boolean;
  login(password: string, address: string): Promise<void>;
  /** A program's token, of `Authorization: Bearer`. */
  checkBearer(token: string, address: string): Promise<void>;
}

/** Too many wrong ones: `waitMs` until another is looked at. */
export class LimitedError extends EspdError {
  readonly waitMs: number;

  constructor(waitMs: number) {
    const seconds = Math.ceil(waitMs / 1000);
    super('login-limited', 'Too many wrong passwords or tokens', {
      hint: `Another one is looked at in ${seconds < 90 ? `${seconds} s` : `${Math.ceil(seconds / 60)} min`}`,
    });
    this.waitMs = waitMs;
  }
}

/** One link, for one browser. */
export class LinkGate implements Gate {
  readonly kind = 'link';
  readonly token = randomSecret();
  #isUsed = false;

  credential(): Promise<string> {
    return Promise.resolve('link');
  }

  takeLink(token: string): boolean {
    if (this.#isUsed || !isSame(token, this.token)) return false;
    this.#isUsed = true;
    return true;
  }

  login(): Promise<void> {
    return Promise.reject(new EspdError('login-refused', 'This page has no password', { hint: 'Run espd web again' }));
  }

  checkBearer(): Promise<void> {
    return this.login();
  }
}

/** Passwords are looked at one after the other: each takes a tenth of a second of one processor. */
const MOST_WAITING = 8;

export class PasswordGate implements Gate {
  readonly kind = 'password';
  readonly #file: Pick<CredentialsFile, 'current'>;
  readonly #limit: LoginLimit;
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  constructor(file: Pick<CredentialsFile, 'current'>, clock: Clock) {
    this.#file = file;
    this.#limit = new LoginLimit(clock);
  }

  async credential(): Promise<string | null> {
    return (await this.#file.current()).password?.hash ?? null;
  }

  takeLink(): boolean {
    return false;
  }

  login(text: string, address: string): Promise<void> {
    return this.#inTurn(address, async () => {
      const { password } = await this.#file.current();
      return password !== null && isPassword(password, text);
    });
  }

  async checkBearer(text: string, address: string): Promise<void> {
    const waitMs = this.#limit.waitMs(address);
    if (waitMs > 0) throw new LimitedError(waitMs);
    const { token } = await this.#file.current();
    if (token !== null && isToken(token, text)) return;
    this.#limit.failed(address);
    throw refused('The token is not the one that is in force', 'Make a new one: espd web set-password --token');
  }

  async #inTurn(address: string, check: () => Promise<boolean>): Promise<void> {
    if (this.#waiting >= MOST_WAITING) throw new LimitedError(1000);
    this.#waiting++;
    const turn = this.#last.then(async () => {
      const waitMs = this.#limit.waitMs(address);
      // The right one is not looked at either: else it could be told from the wrong ones.
      if (waitMs > 0) throw new LimitedError(waitMs);
      if (!(await check())) {
        this.#limit.failed(address);
        throw refused('This is not the password', 'A new one: sudo espd web set-password');
      }
      this.#limit.succeeded(address);
    });
    this.#last = turn.catch(() => undefined);
    await turn.finally(() => this.#waiting--);
  }
}

function refused(message: string, hint: string): EspdError {
  return new EspdError('login-refused', message, { hint });
}
