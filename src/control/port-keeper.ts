/** Ports for commands that a process of its own does: the daemon keeps off them meanwhile. */

import type { Daemon } from '../daemon/daemon.ts';
import type { PortKeeper } from './command-process.ts';

export function portKeeperOf(daemon: Pick<Daemon, 'take'>): PortKeeper {
  return {
    take: async (address, { command, now }, signal, onWait) => {
      const taken = await daemon.take(address, { by: `espd ${command}`, now, signal, onWait: () => onWait('backup') });
      return (how) => taken.giveBack(how);
    },
  };
}
