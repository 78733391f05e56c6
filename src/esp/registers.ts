/** The chip's registers through a loader: as they come, or checked. */

import { EspdError } from '../errors.ts';
import type { RegisterAccess } from './chips/chip.ts';
import { type Loader, agreedAnswer } from './loader.ts';

/** Registers as the loader gives them, unchecked: for words that change. */
export function registersOf(loader: Loader): RegisterAccess {
  return {
    read: (address) => loader.readRegister(address),
    write: (address, value) => loader.writeRegister(address, value),
  };
}

/** Words that were agreed on, by address. */
export type KnownWords = Map<number, number>;

/**
 * Asks for words that will be wanted, with many requests under way at once, each twice; those whose two answers agree are
 * remembered. It is no fault if some or all are still to be asked for: {@link agreeingRegisters} does.
 *
 * @param expected what an earlier session agreed on: such a word is asked for once, and is right if it is the same
 */
export async function readAhead(
  loader: Loader,
  known: KnownWords,
  addresses: readonly number[],
  expected: ReadonlyMap<number, number> = new Map(),
): Promise<void> {
  const questions = addresses
    .filter((address) => !known.has(address))
    .map((address) => ({ address, times: expected.has(address) ? 1 : 2 }));
  const answers = await loader.readRegistersAtOnce(
    questions.flatMap(({ address, times }) => Array.from({ length: times }, () => address)),
  );
  for (const { address, times } of questions) {
    const [value, again = expected.get(address)] = answers.splice(0, times);
    if (value !== undefined && value === again) known.set(address, value);
  }
}

/**
 * Registers whose every word is read until two answers in a row agree, and then remembered: responses carry no
 * checksum, and a flipped bit in a MAC would put a backup under another board's name. For words that do not change.
 * Reading throws EspdError `chip-error` for a word that reads differently each time.
 *
 * @param known what is remembered already; words that are agreed on are added
 * @param expected what an earlier session agreed on: one answer that is the same agrees with it
 */
export function agreeingRegisters(
  loader: Loader,
  known: KnownWords = new Map(),
  expected: ReadonlyMap<number, number> = new Map(),
): RegisterAccess {
  const agreed = async (address: number): Promise<number | undefined> => {
    const first = await loader.readRegister(address);
    if (first === expected.get(address)) return first;
    let isFirst = true;
    return agreedAnswer(() => {
      const answer = isFirst ? Promise.resolve(first) : loader.readRegister(address);
      isFirst = false;
      return answer;
    });
  };
  return {
    async read(address) {
      const value = known.get(address) ?? (await agreed(address));
      if (value === undefined) {
        throw new EspdError('chip-error', `The word at 0x${address.toString(16)} reads differently each time`, {
          hint: 'Check cable and power of the board',
        });
      }
      known.set(address, value);
      return value;
    },
    write: (address, value) => loader.writeRegister(address, value),
  };
}
