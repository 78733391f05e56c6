/** What somebody has to do something about, beyond the state of a port: made of events alone. */

import type { Mac } from '../mac.ts';
import type { EventError, ServiceEvent } from './event-types.ts';

/** What somebody has to do something about. */
export interface Attention {
  readonly at: string;
  readonly about: 'port' | 'line' | 'board' | 'archive' | 'store' | 'disk' | 'config';
  readonly port: string | null;
  readonly mac: Mac | null;
  readonly error: EventError;
}

/** So many are kept. */
const MOST_ATTENTION = 50;
/** Another matter than what is missing there: each is over by its own event. */
const POLICY = 'store-policy';

export class AttentionList {
  #list: readonly Attention[];

  constructor(list: readonly Attention[] = []) {
    this.#list = list;
  }

  get all(): readonly Attention[] {
    return this.#list;
  }

  onEvent(event: ServiceEvent): void {
    const { at } = event;
    switch (event.type) {
      case 'board-stuck':
      case 'board-missing':
      case 'half-restored':
        this.#attend({ at, about: 'board', port: event.port, mac: event.mac, error: event.error });
        return;
      case 'archive-damaged':
        this.#attend({ at, about: 'archive', port: null, mac: null, error: event.error });
        return;
      case 'store-compared':
        this.#leaveStore(({ code }) => code !== POLICY);
        if (event.error !== null) this.#attend({ at, about: 'store', port: null, mac: null, error: event.error });
        return;
      case 'store-pruned':
        this.#leaveStore(({ code }) => code === POLICY);
        if (event.error !== null) this.#attend({ at, about: 'store', port: null, mac: null, error: event.error });
        return;
      case 'store-damaged':
        // It stays: the next part that is read is another one.
        this.#attend({ at, about: 'store', port: null, mac: event.mac, error: event.error });
        return;
      case 'line-bad':
        this.#leaveLine(event.port);
        this.#attend({ at, about: 'line', port: event.port, mac: null, error: event.error });
        return;
      case 'line-good':
        this.#leaveLine(event.port);
        return;
      case 'port-flapping': {
        const rest = `${Math.round(event.restMs / 60_000)} min`;
        const message = `${event.port} comes and goes by itself`;
        const hint = `It is left alone for ${rest}, then tried once. Try another cable or socket`;
        this.#leaveLine(event.port);
        this.#attend({ at, about: 'line', port: event.port, mac: null, error: { code: 'bad-line', message, hint } });
        return;
      }
      case 'config-rejected': {
        const error = {
          code: 'config-invalid',
          message: event.problem,
          hint: 'The old config stays in force',
        } as const;
        this.#attend({ at, about: 'config', port: null, mac: null, error });
        return;
      }
      case 'config-reloaded':
        this.#list = this.#list.filter(({ about }) => about !== 'config');
        return;
      case 'backup-kept':
      case 'backup-unchanged':
        // The board answers, and is as it should be.
        this.#list = this.#list.filter(({ about, mac }) => about !== 'board' || mac !== event.mac);
        return;
      case 'board-restored':
        this.#list = this.#list.filter(({ mac, error }) => error.code !== 'half-restored' || mac !== event.mac);
        return;
      default:
    }
  }

  #attend(one: Attention): void {
    const isSame = (other: Attention) =>
      other.about === one.about &&
      other.mac === one.mac &&
      other.port === one.port &&
      other.error.message === one.error.message;
    this.#list = [...this.#list.filter((other) => !isSame(other)), one].slice(-MOST_ATTENTION);
  }

  /** What was said of the store as a whole, and is judged anew. */
  #leaveStore(isOver: (error: EventError) => boolean): void {
    this.#list = this.#list.filter(({ about, mac, error }) => about !== 'store' || mac !== null || !isOver(error));
  }

  #leaveLine(port: string): void {
    this.#list = this.#list.filter((one) => one.about !== 'line' || one.port !== port);
  }
}
