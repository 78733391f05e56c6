/**
 * From an open link to a loader that answers: reset into download mode, SYNC, and when nothing comes of it a diagnosis
 * that a person can act on.
 */

import type { Clock } from '../clock.ts';
import { EspdError, hasCode } from '../errors.ts';
import type { Link, UsbFacts } from '../serial/link.ts';
import { type BootMode, bootModeOf, isMostlyText, telltaleLine } from './bootlog.ts';
import type { FrameChannel } from './channel.ts';
import { type EspContext, Loader } from './loader.ts';
import { OPCODE, SYNC_PAYLOAD, SYNC_REPLIES, decodeResponse, encodeRequest } from './protocol.ts';
import {
  EN_LOW_MS,
  type ResetMode,
  type ResetSequence,
  hardReset,
  playReset,
  resetPlan,
  setBaudRateIfPossible,
} from './reset.ts';

export interface ConnectOptions {
  readonly reset: ResetMode;
  /** How often reset and SYNC are tried before the board is given up; at least 1. */
  readonly attempts: number;
  readonly usb: UsbFacts | null;
  /** Called before each attempt but the first, for a person who may hold BOOT and press RESET. */
  readonly onAttempt?: (attempt: number) => void;
}

/** Before anybody is told otherwise, ROM and stub talk at the rate that the link was opened with. */
export const CONNECT_BAUD_RATE = 115200;

/** SYNCs sent after one reset; Espressif's ROMs answer the first or second when they listen at all. */
const SYNCS_PER_RESET = 5;
/** How long one SYNC is waited for: its 46 bytes and the reply take 10 ms at 115200, the rest is latency. */
const SYNC_TIMEOUT_MS = 200;
/** Silence after which no more replies to SYNC are due, where fewer came than could have. */
const SYNC_QUIET_MS = 50;
/** A device that sends this much while it is being reset, and never answers, is flooding. */
const FLOOD_BYTES = 200_000;
/** So is one that fills this share of the line all the time; an app that logs a lot takes some hundredths. */
const FLOOD_SHARE = 0.5;

/**
 * Connects to a board. When that fails, or is aborted, the board has been reset into its app again where the link can.
 *
 * @returns the loader that answers: the ROM's, or a stub that was left running
 * @throws EspdError `no-answer`, `boot-mode`, `no-sync`, `download-disabled`, `port-flooded`; errors of the link
 */
export async function connect(channel: FrameChannel, context: EspContext, options: ConnectOptions): Promise<Loader> {
  const { link } = channel;
  context.signal.throwIfAborted();
  const plan = link.capabilities.controlLines ? resetPlan(options.reset, options.usb) : [];
  try {
    return await tryToConnect(channel, context, options, plan);
  } catch (error) {
    if (!isLetBe(plan, error)) await letGo(link, context.clock);
    throw hasCode(error, 'port-flooded') ? flooded(link.address, error) : error;
  }
}

/** Whether the board has been left alone, and is to be left so. */
function isLetBe(plan: readonly ResetSequence[], error: unknown): boolean {
  const isSilent = hasCode(error, 'no-answer', 'no-sync', 'boot-mode');
  return plan.every(({ letsBe }) => letsBe === 'always' || (letsBe === 'silent' && isSilent));
}

async function tryToConnect(
  channel: FrameChannel,
  context: EspContext,
  options: ConnectOptions,
  plan: readonly ResetSequence[],
): Promise<Loader> {
  const receivedBefore = channel.receivedBytes;
  const startedAtMs = context.clock.now();
  channel.takeNoise();
  const logs: Buffer[] = [];
  for (let attempt = 1; attempt <= Math.max(1, options.attempts); attempt++) {
    if (attempt > 1) options.onAttempt?.(attempt);
    await channel.purge();
    const sequence = plan[(attempt - 1) % plan.length];
    if (sequence !== undefined) {
      context.log.debug('reset into download mode', { attempt, sequence: sequence.name });
      await playReset(channel.link, sequence, context.clock, context.signal);
    }
    const loader = await synchronize(channel, context);
    if (loader !== null) {
      context.log.debug('in sync', { attempt, loader: loader.kind });
      channel.enLowMs = sequence?.enLowMs ?? EN_LOW_MS;
      return loader;
    }
    logs.push(channel.takeNoise());
  }
  const { address, baudRate } = channel.link;
  const receivedBytes = channel.receivedBytes - receivedBefore;
  if (receivedBytes >= FLOOD_BYTES) throw flooded(address);
  // A sequence that is none for this board starts its app: what speaks of download mode once, weighs more.
  const telling = logs.find((each) => ['download', 'disabled'].includes(bootModeOf(each.toString('latin1'))));
  // Whoever has printed a boot log is an ESP board, however much its app talks.
  const isUnknown = logs.every((each) => bootModeOf(each.toString('latin1')) === 'unknown');
  const lineBytes = wireBytes(context.clock.now() - startedAtMs, baudRate);
  if (isUnknown && receivedBytes >= FLOOD_SHARE * lineBytes) throw flooded(address);
  const log = telling ?? (await bootLog(channel, context, logs.at(-1) ?? Buffer.alloc(0), plan[0]));
  throw explain(address, bootModeOf(log.toString('latin1')), log, plan.length > 0);
}

/** Bytes that a line carries in a time: 8N1 makes ten bits of a byte. */
function wireBytes(durationMs: number, baudRate: number): number {
  return (durationMs * baudRate) / 10_000;
}

/** SYNC until someone answers; null when nobody does. Leaves no reply unread. */
async function synchronize(channel: FrameChannel, context: EspContext): Promise<Loader | null> {
  for (let attempt = 1; attempt <= SYNCS_PER_RESET; attempt++) {
    // Two go out as they are, the second in case that the first ended a frame that had been cut off. Then it may be a
    // stub, which such a frame has left the wrong way round.
    if (attempt > 2) await channel.breakFrame();
    await channel.send(encodeRequest(OPCODE.SYNC, SYNC_PAYLOAD));
    const replies = await syncReplies(channel, context, attempt * SYNC_REPLIES);
    if (replies.length === 0) continue;
    const most = (is: (reply: SyncReply) => boolean) => replies.filter(is).length * 2 > replies.length;
    // A ROM's value is not zero (0x20120707 on ESP32 and ESP32-C3); zero marks the stub (esp-flasher-stub, s_sync).
    const kind = most(({ value }) => value === 0) ? 'stub' : 'rom';
    return new Loader(channel, context, kind, most(({ statusBytes }) => statusBytes === 2) ? 2 : 4);
  }
  return null;
}

/** @param mostReplies to all SYNCs since the reset: those to an earlier one may be late. When all are here, no wait. */
async function syncReplies(
  channel: FrameChannel,
  { clock, signal }: EspContext,
  mostReplies: number,
): Promise<SyncReply[]> {
  const replies: SyncReply[] = [];
  let deadline = clock.now() + SYNC_TIMEOUT_MS;
  while (replies.length < mostReplies) {
    const remainingMs = deadline - clock.now();
    const frame = remainingMs <= 0 ? null : await channel.receive(remainingMs, signal);
    if (frame === null) break;
    const reply = decodeSyncReply(frame);
    if (reply === null) continue;
    replies.push(reply);
    deadline = clock.now() + SYNC_QUIET_MS;
  }
  return replies;
}

interface SyncReply {
  readonly value: number;
  readonly statusBytes: 2 | 4;
}

/** The reply to SYNC has no body: its length is that of the status, and so tells how this loader's frames are read. */
function decodeSyncReply(frame: Buffer): SyncReply | null {
  if (frame.length < 10) return null;
  const statusBytes = frame.readUInt16LE(2);
  if (statusBytes !== 2 && statusBytes !== 4) return null;
  const response = decodeResponse(frame, statusBytes);
  if (response === null || response.opcode !== OPCODE.SYNC || response.failed) return null;
  return { value: response.value, statusBytes };
}

/**
 * What a board that did not answer has to say: what was heard so far, or else what it prints after one more reset, at
 * both rates of boot logs.
 */
async function bootLog(
  channel: FrameChannel,
  context: EspContext,
  heard: Buffer,
  sequence?: ResetSequence,
): Promise<Buffer> {
  const { link } = channel;
  let log = heard;
  if (sequence === undefined) return log;
  for (const baudRate of link.capabilities.baudRate ? [115200, 74880] : [link.baudRate]) {
    if (bootModeOf(log.toString('latin1')) !== 'unknown') break;
    await setBaudRateIfPossible(link, baudRate);
    await playReset(link, sequence, context.clock, context.signal);
    await channel.drain(300, 600, context.signal);
    const fresh = channel.takeNoise();
    if (isMostlyText(fresh) || !isMostlyText(log)) log = fresh;
  }
  return log;
}

/** Resets the board into its app. Never throws, also after an abort: a board left in download mode is an outage. */
async function letGo(link: Link, clock: Clock): Promise<void> {
  try {
    await playReset(link, hardReset(), clock);
    await setBaudRateIfPossible(link, CONNECT_BAUD_RATE);
  } catch {
    // The port is gone; the error that is on its way to the caller says what happened.
  }
}

function flooded(address: string, cause?: EspdError): EspdError {
  return new EspdError('port-flooded', `The device at ${address} sends without pause and does not answer`, {
    cause,
    hint: 'This is not an ESP board in download mode; exclude the port with watch.deny in the config',
  });
}

function explain(address: string, mode: BootMode, log: Buffer, canReset: boolean): EspdError {
  const said = isMostlyText(log) ? `; it says "${telltaleLine(log)}"` : '';
  switch (mode) {
    case 'disabled':
      return new EspdError('download-disabled', `Download mode is switched off on the chip at ${address}`, {
        hint: 'An eFuse of this chip forbids reading and writing over serial; espd cannot back it up',
      });
    case 'download':
      return new EspdError('no-sync', `The board at ${address} is in download mode but does not answer${said}`, {
        hint: 'Check that its TX and RX are wired both ways, and that nothing else is connected to them',
      });
    case 'app':
      return new EspdError('boot-mode', `The board at ${address} ran its app instead of download mode${said}`, {
        hint: 'Hold its BOOT button (GPIO0 to ground), press RESET, and try again',
      });
    case 'unknown':
      return new EspdError('no-answer', `Nothing at ${address} answers like an ESP board${said}`, {
        hint: canReset
          ? 'If this is an ESP board without auto-reset: hold BOOT, press RESET, and try again'
          : 'This connection cannot reset the board: put it into download mode first (hold BOOT, press RESET)',
      });
  }
}
