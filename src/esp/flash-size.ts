/** How large a flash is: by its id; and where that says nothing, by what a person has said. Never a guess. Pure. */

import { EspdError } from '../errors.ts';
import type { Chip } from './chips/chip.ts';
import { flashSizeBytes } from './flash-ids.ts';
import type { JedecId } from './spi-flash.ts';

export interface FlashFacts extends JedecId {
  readonly sizeBytes: number;
  /** `person`: the id does not tell it. */
  readonly sizeFrom: 'id' | 'person';
}

/**
 * @param toldBytes what a person has said; used only where the id does not tell
 * @throws EspdError `flash-unknown`; `usage` where what was told is not what the id says, or more than the chip addresses
 */
export function flashFacts(
  jedec: JedecId,
  chip: Pick<Chip, 'maxFlashBytes' | 'title'>,
  toldBytes?: number,
): FlashFacts {
  const id = `${jedec.manufacturer} ${jedec.device}`;
  const knownBytes = flashSizeBytes(jedec);
  const sizeBytes = knownBytes ?? toldBytes;
  if (sizeBytes === undefined) {
    throw new EspdError('flash-unknown', `The size of flash ${id} is not known`, {
      hint: 'espd never guesses a size. If you know it, say it: espd backup --flash-size 4M. Please report this flash id',
    });
  }
  if (toldBytes !== undefined && knownBytes !== undefined && toldBytes !== knownBytes) {
    const message = `The id of the flash (${id}) says ${knownBytes} bytes, and --flash-size says ${toldBytes}`;
    throw new EspdError('usage', message, {
      hint: 'Leave out --flash-size: it is only for a flash whose id does not tell its size',
    });
  }
  if (sizeBytes > chip.maxFlashBytes) {
    if (knownBytes === undefined) {
      const message = `--flash-size says ${sizeBytes} bytes, and an ${chip.title} addresses at most ${chip.maxFlashBytes}`;
      throw new EspdError('usage', message, { hint: 'Say the size that is printed on the flash chip' });
    }
    const message = `A flash of ${sizeBytes} bytes is more than an ${chip.title} addresses`;
    throw new EspdError('flash-unknown', message, { hint: 'espd saves a flash as a whole or not at all' });
  }
  return { ...jedec, sizeBytes, sizeFrom: knownBytes === undefined ? 'person' : 'id' };
}
