/** The proof of a backup: the chip's own digest of its whole flash is that of the image. */

import type { Draft } from '../archive/types.ts';
import { EspdError } from '../errors.ts';
import type { Region } from '../flash.ts';
import { differingRegions } from './flash-compare.ts';
import { type Session, whileHeld } from './session.ts';

/** How often regions that the chip does not confirm are read again: an app cannot run meanwhile, so once is rare. */
const CONFIRM_ROUNDS = 3;

export interface Confirming {
  readonly session: Session;
  readonly draft: Draft;
  /** MD5 of a region, by the chip. */
  readonly ask: (region: Region) => Promise<string>;
  /** Reads these regions into the draft. */
  readonly readAgain: (regions: readonly Region[]) => Promise<void>;
}

/**
 * Makes the chip confirm the image; regions that differ are read again.
 * @param flashMd5 what the chip has said of its whole flash before: asked again where the draft is not that
 * @returns the MD5 of both
 * @throws EspdError `digest-mismatch`
 */
export async function confirmImage(
  { session, draft, ask, readAgain }: Confirming,
  flashMd5: string | undefined,
): Promise<string> {
  const { onProgress, log } = session.options;
  const { sizeBytes } = draft;
  const whole: Region = { offset: 0, sizeBytes };
  const image = { read: (offset: number, length: number) => whileHeld(session, draft.read(offset, length)) };
  if (flashMd5 !== undefined && (await whileHeld(session, draft.digests())).md5 === flashMd5) return flashMd5;
  for (let round = 1; ; round++) {
    onProgress?.({ phase: 'verifying', doneBytes: 0, totalBytes: sizeBytes });
    const [ours, theirs] = await bothDone(whileHeld(session, draft.digests()), ask(whole));
    if (ours.md5 === theirs) return theirs;
    if (round === CONFIRM_ROUNDS) break;
    log.warn('The chip does not confirm the image; comparing by region', { round, ours: ours.md5, theirs });
    await readAgain(await differingRegions(whole, image, ask, session.board.costs));
  }
  throw new EspdError('digest-mismatch', 'The chip does not confirm the image: its flash reads differently each time', {
    hint: 'The flash or its power supply may be failing; no backup was kept',
  });
}

/** Both at once; when one fails the other is awaited all the same, so that nothing goes on behind the caller's back. */
async function bothDone<A, B>(one: Promise<A>, other: Promise<B>): Promise<[A, B]> {
  await Promise.allSettled([one, other]);
  return Promise.all([one, other]);
}
