/** Which chip answers: by the chip id of GET_SECURITY_INFO, or by a word of the ROM. */

import { EspdError } from '../errors.ts';
import { isOldRomLog } from './bootlog.ts';
import type { Chip, RegisterAccess, SecurityInfo } from './chips/chip.ts';
import { chipByFamily, chipByImageId, chipByMagicWord } from './chips/index.ts';
import { ChipRefusal, type Loader, agreedAnswer } from './loader.ts';
import { OPCODE } from './protocol.ts';
import { type KnownWords, agreeingRegisters } from './registers.ts';
import { parseSecurityInfo } from './security-info.ts';

/** In every chip's ROM; its content tells the three families apart that GET_SECURITY_INFO does not. */
const MAGIC_ADDRESS = 0x40001000;

export interface Detection {
  readonly chip: Chip;
  /** Null on chips that do not know GET_SECURITY_INFO. */
  readonly securityInfo: SecurityInfo | null;
}

/**
 * @param known gets the words that were agreed on
 * @throws EspdError `chip-unsupported`, or what the commands throw
 */
export async function detectChip(loader: Loader, known: KnownWords = new Map()): Promise<Detection> {
  const registers = agreeingRegisters(loader, known);
  // By its refusal of GET_SECURITY_INFO, eight times after SYNC, a ROM would tell the same, and later.
  if (loader.kind === 'rom' && isOldRomLog(loader.channel.takeNoise().toString('latin1'))) {
    const chip = await oldChip(registers);
    if (chip !== undefined) return { chip, securityInfo: null };
  }
  const securityInfo = await readSecurityInfo(loader, registers);
  if (securityInfo === null) {
    const word = await registers.read(MAGIC_ADDRESS);
    const chip = chipByMagicWord(word);
    if (chip === undefined) throw unsupported(`0x${word.toString(16).padStart(8, '0')} at 0x40001000`);
    return { chip, securityInfo };
  }
  // Only the ESP32-S2 answers without a chip id; in secure download mode it refuses the register above, too.
  if (securityInfo.chipId === null) return { chip: chipByFamily('esp32s2'), securityInfo };
  const chip = chipByImageId(securityInfo.chipId);
  if (chip === undefined) throw unsupported(`chip id ${securityInfo.chipId}`);
  return { chip, securityInfo };
}

/** Null where the loader does not know the command. A chip id with a flipped bit would be another chip's. */
async function readSecurityInfo(loader: Loader, registers: RegisterAccess): Promise<SecurityInfo | null> {
  const options = { repeatable: true };
  const ask = async () => (await loader.command(OPCODE.GET_SECURITY_INFO, Buffer.alloc(0), options)).body;
  try {
    let first: Buffer | undefined;
    try {
      const refusable = { ...options, believesRefusal: true };
      first = (await loader.command(OPCODE.GET_SECURITY_INFO, Buffer.alloc(0), refusable)).body;
    } catch (error) {
      if (!(error instanceof ChipRefusal)) throw error;
      // One bit makes a refusal of a good answer; but a word of the ROM says as much as a second refusal.
      if ((await oldChip(registers)) !== undefined) return null;
    }
    const answer = () => {
      const body = first;
      first = undefined;
      return body === undefined ? ask() : Promise.resolve(body);
    };
    const body = await agreedAnswer(answer, (one, other) => one.equals(other));
    if (body !== undefined) return parseSecurityInfo(body);
  } catch (error) {
    if (error instanceof ChipRefusal) return null;
    throw error;
  }
  throw new EspdError('chip-error', 'The chip answers GET_SECURITY_INFO differently each time', {
    hint: 'Check cable and power of the board',
  });
}

/** ESP8266 or ESP32, which do not know GET_SECURITY_INFO; undefined for another chip, or where no register is given. */
async function oldChip(registers: RegisterAccess): Promise<Chip | undefined> {
  try {
    const chip = chipByMagicWord(await registers.read(MAGIC_ADDRESS));
    return chip?.family === 'esp8266' || chip?.family === 'esp32' ? chip : undefined;
  } catch (error) {
    if (error instanceof ChipRefusal) return undefined;
    throw error;
  }
}

function unsupported(what: string): EspdError {
  return new EspdError('chip-unsupported', `The chip that answers is not supported (${what})`, {
    hint: 'A newer espd may know it; CONTRIBUTING.md says how to add a chip',
  });
}
