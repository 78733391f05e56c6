/** Changes the baud rate of chip and host, and finds out who answers then. */

import { sleep } from '../clock.ts';
import { hasCode } from '../errors.ts';
import type { Link } from '../serial/link.ts';
import type { Chip } from './chips/chip.ts';
import { type Loader, isLineFault } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { registersOf } from './registers.ts';

/** Both UARTs settle; what comes in between is noise (protocol page, CHANGE_BAUDRATE). */
const SETTLE_MS = 50;
/** For the answer to CHANGE_BAUDRATE, which may be lost, and to the SYNC after it. */
const ANSWER_TIMEOUT_MS = 1000;
const SYNC_TIMEOUT_MS = 400;

/**
 * `changed`: the loader answers at the new rate; `kept`: it has not heard, and answers at the old one; `lost`: it
 * answers at neither.
 */
export type BaudChange = 'changed' | 'kept' | 'lost';

/** Whether chip and loader know CHANGE_BAUDRATE: all but the ESP8266's ROM. */
export function canChangeBaudRate(loader: Loader, chip: Chip): boolean {
  return loader.kind === 'stub' || chip.rom.changeBaudRate;
}

/** @param isDeaf the loader does not answer at the rate in force: the request goes out, its answer is not waited for */
export async function changeBaudRate(loader: Loader, chip: Chip, to: number, isDeaf = false): Promise<BaudChange> {
  const { channel, context } = loader;
  const { link } = channel;
  const from = link.baudRate;
  try {
    // The second word is the present rate for a stub, 0 for a ROM.
    const request =
      loader.kind === 'stub' ? words(to, from) : words(await chip.romBaudRate(registersOf(loader), to, from), 0);
    await loader.command(OPCODE.CHANGE_BAUDRATE, request, { timeoutMs: isDeaf ? SETTLE_MS : ANSWER_TIMEOUT_MS });
  } catch (error) {
    // The answer may have been lost on its way: who answers at the new rate decides.
    if (!isLineFault(error)) throw error;
  }
  const isSet = await setRate(link, to);
  await sleep(context.clock, SETTLE_MS, context.signal);
  await channel.purge();
  if (isSet && (await loader.isAlive({ attempts: 2, timeoutMs: SYNC_TIMEOUT_MS }))) return 'changed';
  await setRate(link, from);
  await sleep(context.clock, SETTLE_MS, context.signal);
  await channel.purge();
  return (await loader.isAlive({ attempts: 1, timeoutMs: SYNC_TIMEOUT_MS })) ? 'kept' : 'lost';
}

/** False where the port refuses the rate. @throws EspdError `port-vanished` */
async function setRate(link: Link, baudRate: number): Promise<boolean> {
  try {
    await link.setBaudRate(baudRate);
    return true;
  } catch (error) {
    if (hasCode(error, 'port-vanished')) throw error;
    return false;
  }
}
