/** What a finished backup says of itself: the part of the manifest that its maker knows. */

import { hostname } from 'node:os';
import type { Region } from '../flash.ts';
import type { ManifestContent, Reason } from '../archive/manifest.ts';
import type { Draft } from '../archive/types.ts';
import type { Explanation } from './known-content.ts';
import type { Phase } from './phases.ts';
import type { Session } from './session.ts';
import type { ReaderReport } from '../esp/reader/chip-reader.ts';
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
  /** Bytes of flash by the way they were read; those of regions that were read twice count twice. */
  readonly ways: {
    readonly stub: number;
    readonly rom: number;
    /** Through the reader on the chip, as they are and compressed. */
    readonly plain: number;
    readonly compressed: number;
  };
  /** What the reader on the chip did; null where it was not used. */
  readonly reader: ReaderReport | null;
}

/** A manifest but for what is inside the image. */
export type SessionFacts = Omit<ManifestContent, 'contents'>;

/** All that a manifest says and a session knows, written down before the board is released. */
export function sessionFacts(facts: {
  readonly session: Session;
  readonly reason: Reason;
  /** Of the whole flash, by the chip. */
  readonly confirmed: { readonly by: 'stub' | 'rom'; readonly md5: string };
  readonly flash: ManifestContent['flash'];
  readonly efuses: Readonly<Record<string, readonly string[]>>;
  readonly transfer: TransferReport;
}): SessionFacts {
  const { confirmed, flash, efuses } = facts;
  const { board, link, options, port, startedAtMs } = facts.session;
  const { identity } = board;
  const now = options.clock.date().toISOString();
  const { loader, flashBytesRead, digestsAsked, explained, retries, recovery, baudRate, phases } = facts.transfer;
  const { ways, reader } = facts.transfer;
  return {
    createdAt: now,
    reason: facts.reason,
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
    confirmed: { ...confirmed, at: now },
    source: { port: port.address, file: null, usb: port.usb, host: hostname() },
    transfer: {
      loader,
      wireBytes: link.bytesRead + link.bytesWritten,
      flashBytesRead,
      digestsAsked,
      explained,
      retries,
      recovery: { ...recovery },
      phases: { ...phases },
      ways: { ...ways },
      reader: reader && { ...reader },
      baudRate,
      seconds: (options.clock.now() - startedAtMs) / 1000,
    },
  };
}

/** The manifest's content: what the session has found out, and what is inside the image that it has read. */
export async function manifestOf(facts: SessionFacts, draft: Draft): Promise<ManifestContent> {
  const read = (offset: number, length: number) => draft.read(offset, length);
  const { firmware, partitions } = await describeFirmware(read, facts.flash.sizeBytes, facts.chip.family);
  return { ...facts, contents: { firmware, partitions } };
}
