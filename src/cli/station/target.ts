/** Which port or board of a running daemon a person means: an address, a MAC or a label. */

import type { ApiClient } from '../../client/api.ts';
import { foreign } from '../../client/daemon-errors.ts';
import type { PortView, StationView } from '../../daemon/station.ts';
import { EspdError } from '../../errors.ts';
import { type Mac, parseMac } from '../../mac.ts';
import { ownUsbMac } from '../../plugs/slots.ts';

/** No label holds a slash, and no address of a device or of the network is without one, but those of Windows. */
const ADDRESS = /[/\\]|^COM\d+$/i;

/**
 * The MAC that is meant, of whatever board; or the board with this label, as the daemon's archive knows it.
 * @throws EspdError `archive-unknown-board` and others of the daemon
 */
export async function boardOf(client: ApiClient, text: string, signal: AbortSignal): Promise<Mac> {
  const mac = parseMac(text);
  if (mac !== undefined) return mac;
  const answer = await client.ask(`/v1/boards/${encodeURIComponent(text)}`, { signal });
  const { board } = (answer ?? {}) as { readonly board?: { readonly mac?: unknown } };
  const found = typeof board?.mac === 'string' ? parseMac(board.mac) : undefined;
  if (found === undefined) throw foreign(client.path, 'does not tell a board as a daemon of espd does');
  return found;
}

/**
 * The address of the port that is meant.
 * @param target an address, which need not be attached; the name of a remote; or the MAC or label of a board that the
 *   daemon sees at a port
 * @throws EspdError `board-not-found`, `board-ambiguous`; see {@link boardOf}
 */
export async function portOf(client: ApiClient, target: string, signal: AbortSignal): Promise<string> {
  if (ADDRESS.test(target) && parseMac(target) === undefined) return target;
  const status = await client.status(signal);
  const remote = status.ports.find(({ name }) => name === target);
  if (remote !== undefined) return remote.port;
  const mac = await boardOf(client, target, signal);
  const [found, second] = portsWith(status, mac);
  if (found === undefined) {
    throw new EspdError('board-not-found', `The daemon has found ${mac} at no port`, {
      hint: '"espd status" shows the ports: name one of them',
    });
  }
  if (second !== undefined) {
    throw new EspdError('board-ambiguous', `${mac} is at ${found.port} and at ${second.port}`, {
      hint: 'Name the port',
    });
  }
  return found.port;
}

/** Where a board was found, or says by its USB that it is. */
export function portsWith({ ports }: Pick<StationView, 'ports'>, mac: Mac): readonly PortView[] {
  return ports.filter((view) => (ownUsbMac(view) ?? view.mac) === mac);
}
