/** Errors of ports that only the daemon can know of. */

import { EspdError } from '../errors.ts';
import type { Mac } from '../mac.ts';
import { looksLikeNetworkAddress } from '../serial/address.ts';
import type { PortInfo } from '../serial/ports.ts';
import type { Hold } from './hold.ts';

export function stopping(): EspdError {
  return new EspdError('interrupted', 'The daemon is stopping');
}

export function unplugged(address: string): EspdError {
  if (looksLikeNetworkAddress(address)) {
    return new EspdError('port-vanished', `${address} was taken out of the config, or of its folder, during a job`, {
      hint: 'Nothing incomplete was kept; what was read is, for the next backup of this board',
    });
  }
  return new EspdError('port-vanished', `${address} was unplugged in the middle of a job`, {
    hint: 'Nothing incomplete was kept; plug the board in again',
  });
}

export function linkBroke({ address }: PortInfo): EspdError {
  const message = `The link to ${address} broke when its board was reset; the port is still there`;
  return new EspdError('port-vanished', message, { hint: 'Unplug the board and plug it in again' });
}

export function heldBy({ port, by, until }: Hold): EspdError {
  return new EspdError('port-busy', `${port} is held by ${by}${until === null ? '' : ` until ${until}`}`, {
    hint: `Wait for it, or take it away: espd release ${port}`,
  });
}

/** @param ports what is attached */
export function notAttached(address: string, ports: readonly PortInfo[]): EspdError {
  return new EspdError('port-missing', `${address} is not attached, as far as the daemon sees`, {
    hint:
      ports.length === 0
        ? 'No port is'
        : `These are: ${ports.map(({ address: each, name }) => name ?? each).join(', ')}`,
  });
}

export function notKnownAt(mac: Mac): EspdError {
  return new EspdError('board-not-found', `No attached port is known to have ${mac}`, {
    hint: 'Plug it in, or name its port',
  });
}
