/** Letting a board go: reset into its app, and look whether it went. A board left in download mode is an outage. */

import { hasCode } from '../errors.ts';
import { bootModeOf } from './bootlog.ts';
import type { Chip, RegisterAccess, ResetWay, UsbConnection } from './chips/chip.ts';
import { stopReading } from './flash-read.ts';
import { type EspContext, Loader, isLineFault } from './loader.ts';
import { OPCODE, words } from './protocol.ts';
import { endStream } from './reader/stream.ts';
import { EN_LOW_MS, hardReset, playReset, setBaudRateIfPossible } from './reset.ts';

/**
 * `app`: its boot log says so, or its own USB went away; `silent`: it says nothing and answers no more; `stuck`: it is
 * still in download mode; `untouched`: the link has no reset lines, the loader goes on running.
 */
export type LeaveOutcome = 'app' | 'silent' | 'stuck' | 'untouched';

/** How long the boot log is listened to. A ROM prints it within 100 ms of the reset; a watchdog takes 500 to reset. */
const BOOT_LOG_MS = 600;
/** Commands of a board that is being let go: what does not answer by then is reset all the same. */
const COMMAND_TIMEOUT_MS = 500;
/** A SYNC to what is most likely an app. */
const ONE_SYNC = { attempts: 1, timeoutMs: 300 };

/**
 * Never throws, ends within a few seconds, and works after `context.signal` was aborted, also in the middle of a read.
 * @param chip undefined when the board was let go before its chip was known
 */
export async function leaveDownloadMode(
  loader: Loader,
  chip: Chip | undefined,
  usb: UsbConnection,
  context: EspContext,
): Promise<LeaveOutcome> {
  if (!loader.channel.link.capabilities.controlLines) return 'untouched';
  // Not even an abort may leave the board behind in download mode.
  const unhurried: EspContext = { ...context, signal: new AbortController().signal };
  const answering = new Loader(loader.channel, unhurried, loader.kind, loader.statusBytes);
  try {
    if (loader.isReading) await stopReading(answering);
    if (loader.isStreaming) await endStream(answering);
    const outcome = await resetOnce(answering, chip, usb);
    if (outcome !== 'stuck') return outcome;
    loader.channel.enLowMs = EN_LOW_MS;
    // The reset may have led back into the ROM: its own USB does not look at the boot pin again, the watchdog does.
    const rom = new Loader(loader.channel, unhurried, 'rom', chip?.romStatusBytes ?? 4);
    const isRom = chip?.watchdogReset && usb !== 'none' && (await rom.isAlive(ONE_SYNC));
    return await resetOnce(isRom ? rom : answering, chip, usb, isRom ? 'watchdog' : undefined);
  } catch (error) {
    // A board on its own USB takes its port along when it resets.
    if (hasCode(error, 'port-vanished')) return 'app';
    context.log.warn('The board could not be reset', {
      reason: error instanceof Error ? error.message : String(error),
    });
    return 'stuck';
  }
}

async function resetOnce(
  loader: Loader,
  chip: Chip | undefined,
  usb: UsbConnection,
  preferred?: ResetWay,
): Promise<LeaveOutcome> {
  const { channel, context } = loader;
  const { link } = channel;
  const workingBaudRate = link.baudRate;
  await channel.purge();
  channel.takeNoise();
  const registers = impatientRegisters(loader);
  const way = preferred ?? (chip === undefined ? 'reset-line' : await wayOut(chip, registers, usb));
  if (way === 'watchdog' && chip?.watchdogReset) {
    await chip.watchdogReset(registers).catch(ignoreSilence);
  } else {
    if (chip !== undefined) await setBaudRateIfPossible(link, chip.bootLogBaudRate);
    await playReset(link, hardReset(channel.enLowMs), context.clock);
  }
  const mode = await bootMode(loader);
  if (mode === 'app') return 'app';
  if (mode !== 'unknown') return 'stuck';
  // No boot log: either it is switched off, or the reset line does nothing. Whoever still answers has not left.
  await setBaudRateIfPossible(link, workingBaudRate);
  return (await loader.isAlive(ONE_SYNC)) ? 'stuck' : 'silent';
}

/** Listens to the boot log until it tells what the board does. */
async function bootMode({ channel, context }: Loader): Promise<ReturnType<typeof bootModeOf>> {
  const deadline = context.clock.now() + BOOT_LOG_MS;
  let log = '';
  for (;;) {
    // Looked at while it comes: what follows the line that tells is not waited for.
    await channel.drain(2, 4);
    log += channel.takeNoise().toString('latin1');
    const mode = bootModeOf(log);
    if (mode !== 'unknown' || context.clock.now() >= deadline) return mode;
  }
}

/** Registers asked once, and not for long: an answer that does not come must not hold up the reset. */
function impatientRegisters(loader: Loader): RegisterAccess {
  const options = { timeoutMs: COMMAND_TIMEOUT_MS };
  return {
    read: async (address) => (await loader.command(OPCODE.READ_REG, words(address), options)).value,
    async write(address, value) {
      await loader.command(OPCODE.WRITE_REG, words(address, value, 0xffffffff, 0), options);
    },
  };
}

/** A loader that no longer answers is reset by its line, and nothing is to be prepared. */
async function wayOut(chip: Chip, registers: RegisterAccess, usb: UsbConnection): Promise<ResetWay> {
  try {
    return await chip.prepareForReset(registers, usb);
  } catch (error) {
    ignoreSilence(error);
    return 'reset-line';
  }
}

/** The last reply before a reset may be lost. */
function ignoreSilence(error: unknown): void {
  if (!isLineFault(error)) throw error;
}
