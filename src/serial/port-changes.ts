/** What has changed from one listing to the next: the one comparison that the watcher and waiting commands share. Pure. */

import type { PortInfo } from './ports.ts';

export interface PortChanges {
  /** As the listing before knew them, in its order. */
  readonly detached: readonly PortInfo[];
  /** In the order of the new listing. */
  readonly attached: readonly PortInfo[];
  /** The same plug-ins, which the config calls otherwise now. */
  readonly renamed: readonly PortInfo[];
  /** All that is there now, by address: what the next comparison begins with. */
  readonly present: ReadonlyMap<string, PortInfo>;
}

/**
 * The ports that went and came. One with the same key of which more is known now has gone and come, so that the rules
 * can judge it anew. Facts may come late (a udev that is slow, where there is no sysfs): those once known are kept.
 */
export function portChanges(before: ReadonlyMap<string, PortInfo>, found: readonly PortInfo[]): PortChanges {
  const present = new Map(found.map((port) => [port.address, keepKnownFacts(port, before.get(port.address))]));
  return {
    detached: [...before.values()].filter((port) => !isSame(port, present.get(port.address))),
    attached: [...present.values()].filter((port) => !isSame(port, before.get(port.address))),
    renamed: [...present.values()].filter((port) => {
      const known = before.get(port.address);
      return isSame(port, known) && port.name !== known?.name;
    }),
    present,
  };
}

function keepKnownFacts(port: PortInfo, before: PortInfo | undefined): PortInfo {
  return port.usb === null && before?.usb && before.key === port.key ? { ...port, usb: before.usb } : port;
}

function isSame(port: PortInfo, other: PortInfo | undefined): boolean {
  if (other?.key !== port.key || other.fromFolder !== port.fromFolder) return false;
  return JSON.stringify(other.usb) === JSON.stringify(port.usb);
}
