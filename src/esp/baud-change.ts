/** Changes the baud rate of chip and host, and finds out who answers then. */

import { sleep } from '../clock.ts';
import { hasCode } from '../errors.ts';
import type { Chip } from './chips/chip.ts';
import { type Loader, isLineFault } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { registersOf } from './registers.ts';

/** Both UARTs settle; what comes in between is noise (protocol page, CHANGE_BAUDRATE). */
const SETTLE_MS = 50;
/** For the answer to CHANGE_BAUDRATE, which may be lost. */
const ANSWER_TIMEOUT_MS = 1000;
/** A rate that the loader is known to talk at. */
const PATIENT_SYNC = { attempts: 2, timeoutMs: 400, quietMs: 0 };
/** The loader hears what it is not heard to answer: it changes at once. */
const UNHEARD_MS = 20;

/**
 * `changed`: the loader answers at the new rate; `kept`: it has not heard, and answers at the old one; `unheld`: it has
 * changed, the line does not carry its answers, and it was called back to the old one; `lost`: it answers at neither.
 */
export type BaudChange = 'changed' | 'kept' | 'unheld' | 'lost';

export interface ChangeOptions {
  /** The loader does not answer at the rate in force: the request goes out, its answer is not waited for. */
  readonly isDeaf?: boolean;
  /** The new rate is one that the line may not hold: its first answer is waited for that long, in ms. */
  readonly trialMs?: number | undefined;
}

/** Whether chip and loader know CHANGE_BAUDRATE: all but the ESP8266's ROM. */
export function canChangeBaudRate(loader: Loader, chip: Chip): boolean {
  return loader.kind === 'stub' || chip.rom.changeBaudRate;
}

export async function changeBaudRate(
  loader: Loader,
  chip: Chip,
  to: number,
  { isDeaf = false, trialMs }: ChangeOptions = {},
): Promise<BaudChange> {
  const { link } = loader.channel;
  const from = link.baudRate;
  // The second word is the present rate for a stub, 0 for a ROM.
  const rates = loader.kind === 'stub' ? [to, from] : [await chip.romBaudRate(registersOf(loader), to, from), 0];
  const wasAnswered = await request(loader, rates, isDeaf ? UNHEARD_MS : ANSWER_TIMEOUT_MS);
  // A read that was not yet over takes the first frame for its end; who has heard it takes a second for noise.
  if (isDeaf) await request(loader, rates, UNHEARD_MS);
  const isSet = await setRate(loader, to);
  const patience = trialMs === undefined ? PATIENT_SYNC : { attempts: 1, timeoutMs: trialMs, quietMs: 0 };
  if (isSet && (await loader.isAlive(patience))) return 'changed';
  // It may hear what it is not heard to answer. A loader that has kept its rate takes this for noise.
  if (isSet && loader.kind === 'stub') {
    await loader.channel.breakFrame();
    await request(loader, [from, to], UNHEARD_MS);
  }
  await setRate(loader, from);
  if (!(await loader.isAlive({ ...PATIENT_SYNC, attempts: 1 }))) return 'lost';
  return wasAnswered ? 'unheld' : 'kept';
}

/** Resolves to whether it was answered: the answer may also be lost on its way, who answers later decides. */
async function request(loader: Loader, rates: readonly number[], timeoutMs: number): Promise<boolean> {
  try {
    await loader.command(OPCODE.CHANGE_BAUDRATE, words(...rates), { timeoutMs });
    return true;
  } catch (error) {
    if (!isLineFault(error)) throw error;
    return false;
  }
}

/** Sets the host's rate and lets the line settle; false where the port refuses the rate. @throws EspdError `port-vanished` */
async function setRate({ channel, context }: Loader, baudRate: number): Promise<boolean> {
  let isSet = true;
  try {
    await channel.link.setBaudRate(baudRate);
  } catch (error) {
    if (hasCode(error, 'port-vanished')) throw error;
    isSet = false;
  }
  await sleep(context.clock, SETTLE_MS, context.signal);
  await channel.purge();
  return isSet;
}
