/** What a finished backup says of itself: the part of the manifest that its maker knows. */

import { hostname } from 'node:os';
import type { Region } from '../flash.ts';
import type { ManifestContent } from '../archive/manifest.ts';
import type { Draft } from '../archive/types.ts';
import type { Explanation } from './known-content.ts';
import type { Phase } from './phases.ts';
import type { Session } from './session.ts';
import type { RecoveryCounts } from '../esp/recovery.ts';
import { describeFirmware } from '../firmware/index.ts';

/** How the bytes of a backup came. */
export interface TransferReport {
  readonly loader: 'stub' | 'rom';
  readonly flashBytesRead: number;
  readonly digestsAsked: number;
  /** Bytes of flash that needed no reading, by what explained them. */
  readonly explained: Readonly<Record<Explanation, number>>;
  /** Every region of the flash and where its bytes came from; empty where the whole was known or read in full. */
  readonly plan: readonly (Region & { readonly by: Explanation | 'read' })[];
  readonly retries: number;
  readonly recovery: RecoveryCounts;
  readonly baudRate: number;
  readonly phases: Readonly<Record<Phase, number>>;
}

export async function manifestOf(facts: {
  readonly session: Session;
  readonly draft: Draft;
  /** Of the whole flash, by the chip. */
  readonly md5: string;
  readonly flash: ManifestContent['flash'];
  readonly efuses: Readonly<Record<string, readonly string[]>>;
  readonly transfer: TransferReport;
}): Promise<ManifestContent> {
  const { draft, md5, flash, efuses } = facts;
  const { board, link, options, port, startedAtMs } = facts.session;
  const { identity } = board;
  const now = options.clock.date().toISOString();
  const { firmware, partitions } = await describeFirmware(
    (offset, length) => draft.read(offset, length),
    flash.sizeBytes,
    identity.family,
  );
  const { loader, flashBytesRead, digestsAsked, explained, retries, recovery, baudRate, phases } = facts.transfer;
  return {
    createdAt: now,
    mac: identity.mac,
    chip: {
      family: identity.family,
      name: identity.chipName,
      revision: identity.revision,
      features: [...identity.features],
      crystalMHz: identity.crystalMHz,
    },
    flash,
    security: identity.security,
    efuses: Object.fromEntries(Object.entries(efuses).map(([name, content]) => [name, [...content]])),
    contents: { firmware, partitions },
    confirmed: { by: board.loaderKind, md5, at: now },
    source: { port: port.address, usb: port.usb, host: hostname() },
    transfer: {
      loader,
      wireBytes: link.bytesRead + link.bytesWritten,
      flashBytesRead,
      digestsAsked,
      explained,
      retries,
      recovery: { ...recovery },
      phases: { ...phases },
      baudRate,
      seconds: (options.clock.now() - startedAtMs) / 1000,
    },
  };
}
