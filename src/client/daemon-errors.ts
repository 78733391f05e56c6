/** Why a daemon cannot be asked, as people read it: one wording for every command. */

import { EspdError } from '../errors.ts';
import { printable } from '../printable.ts';

export function absent(path: string, cause?: unknown): EspdError {
  return new EspdError('daemon-absent', `No daemon listens at ${printable(path)}`, {
    hint: 'Start it: sudo systemctl start espd, or in a terminal of its own: espd daemon',
    cause,
  });
}

export function denied(path: string, cause?: unknown): EspdError {
  return new EspdError(
    'daemon-denied',
    `You are not in group espd, and may not speak to the daemon at ${printable(path)}`,
    { hint: 'Let an administrator add you, then log in again: sudo usermod -aG espd $USER', cause },
  );
}

export function gone(path: string, cause?: unknown): EspdError {
  return new EspdError('daemon-gone', `The daemon at ${printable(path)} has gone`, {
    hint: 'See why: journalctl -u espd',
    cause,
  });
}

export function silent(path: string): EspdError {
  return new EspdError('daemon-gone', `The daemon at ${printable(path)} does not answer`, {
    hint: 'See what it does: systemctl status espd. To do without it: --no-daemon',
  });
}

export function busy(cause: unknown): EspdError {
  return new EspdError('daemon-busy', 'The daemon has more connections waiting than it takes', {
    hint: 'Try again in a while. To do without it: --no-daemon',
    cause,
  });
}

/** What answers at the socket is no daemon of espd, or one of another time. */
export function foreign(path: string, what: string, cause?: unknown): EspdError {
  return new EspdError('daemon-protocol', `What listens at ${printable(path)} ${what}`, {
    hint: 'After an update the daemon must be restarted: sudo systemctl restart espd',
    cause,
  });
}
