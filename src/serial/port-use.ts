/**
 * Which ports other programs use, asked again and again without opening any. The kernel stamps a tty's node when
 * somebody reads or writes it (tty_update_time in drivers/tty/tty_io.c, at most every 8 s), so that what costs more, who
 * has it open, is asked only where something has happened: one stat a port else.
 */

import { realpath, stat } from 'node:fs/promises';
import type { PortInfo } from './ports.ts';
import { findHolder } from './port-holder.ts';

/** Addresses of the ports that another program has open or locked, as far as the system lets us see. Never rejects. */
export type UseLook = (ports: readonly PortInfo[]) => Promise<ReadonlySet<string>>;

/** @param procFolder `/proc`, or what stands for it in a test */
export function createUseLook(procFolder = '/proc'): UseLook {
  let stamps = new Map<string, string>();
  let used = new Set<string>();
  return async (ports) => {
    const [seen, nowUsed] = [new Map<string, string>(), new Set<string>()];
    for (const { address, key } of ports) {
      const device = await realpath(address).catch(() => undefined);
      const facts = device === undefined ? undefined : await stat(device).catch(() => undefined);
      // A port of the network has no node, and no other program that could be seen.
      if (device === undefined || facts === undefined) continue;
      const stamp = `${facts.atimeMs} ${facts.mtimeMs}`;
      seen.set(key, stamp);
      const hasHappened = stamps.has(key) && stamps.get(key) !== stamp;
      if (!hasHappened && !used.has(address)) continue;
      const holder = await findHolder(device, procFolder).catch(() => undefined);
      if (holder !== undefined && holder.pid !== process.pid) nowUsed.add(address);
    }
    [stamps, used] = [seen, nowUsed];
    return nowUsed;
  };
}
