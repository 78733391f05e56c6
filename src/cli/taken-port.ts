/** Links of a command that a daemon's process does: the daemon keeps off a port for as long as one is open there. */

import type { PortPurpose } from '../control/contract/session-messages.ts';
import type { Link } from '../serial/link.ts';
import { openLink } from '../serial/open-link.ts';
import type { LinkOpener } from '../transfer/session.ts';
import type { ReleasePort, ServiceHost } from './host.ts';
import type { Output } from './output.ts';

/** Takes the port, opens it, and gives it back when the link is closed. */
export function takenLinks(
  service: Pick<ServiceHost, 'takePort'>,
  purpose: PortPurpose,
  out: Pick<Output, 'note'>,
  open: LinkOpener = openLink,
): LinkOpener {
  return async (address, options) => {
    const release = await service.takePort(address, purpose, options.signal, (job) => {
      out.note(`Waiting for the daemon's ${job} of ${address}`);
    });
    try {
      return releasing(await open(address, options), release);
    } catch (error) {
      release();
      throw error;
    }
  };
}

function releasing(link: Link, release: ReleasePort): Link {
  return new Proxy(link, {
    get(target, key) {
      if (key === 'close') return () => target.close().finally(release);
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? (value.bind(target) as unknown) : value;
    },
  });
}
