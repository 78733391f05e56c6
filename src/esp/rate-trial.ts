/**
 * What a read at a rate that is still to be proven does otherwise: it waits for no more than a round trip, and tells a
 * rate that the line does not hold from a single error.
 */

import { EspdError } from '../errors.ts';
import { type Loader } from './loader.ts';
import { OPCODE, decodeResponse, encodeRequest, words } from './protocol.ts';

/** How long is waited at a rate that the line may not hold, in ms: where it does, answers come within a round trip. */
export interface TrialLimits {
  /** For the answer to a command that takes no time. */
  readonly answerMs: number;
  /** For a packet of 4096 bytes. */
  readonly packetMs: number;
  /** Silence after which nothing more is on its way. */
  readonly quietMs: number;
}

/** A read that is the trial of a rate. */
export interface Trial extends TrialLimits {
  /** Nothing else that is new on this line can be to blame. */
  readonly canBlame: boolean;
}

/** `read-failed` of a trial, with two bad frames in a row: one can be noise, two are the rate's doing. */
export class RateNotHeld extends EspdError {
  constructor() {
    super('read-failed', 'Two frames in a row did not come whole');
  }
}

/** No answer to a command is longer. */
const MAX_ANSWER_BYTES = 64;

/**
 * Sends the request of a trial. Its answer may be lost where packets follow all the same: they need not be waited out.
 * @param request words of READ_FLASH
 * @throws EspdError `chip-timeout`, `read-failed`, {@link RateNotHeld}
 */
export async function beginTrial(stub: Loader, request: Buffer, trial: Trial, packetBytes: number): Promise<void> {
  const { channel, context } = stub;
  await channel.send(encodeRequest(OPCODE.READ_FLASH, request));
  const frame = await channel.receive(trial.answerMs, context.signal);
  const response = frame && decodeResponse(frame, stub.statusBytes);
  if (response?.opcode === OPCODE.READ_FLASH && !response.failed) return;
  if (frame === null)
    throw new EspdError('chip-timeout', 'The chip did not answer READ_FLASH at an unproven baud rate');
  // Longer than any answer: that was the first packet already, and the next one wants it acknowledged.
  if (frame.length > MAX_ANSWER_BYTES) await channel.send(words(packetBytes));
  await mustBeWhole(stub, packetBytes, trial);
  throw new EspdError('read-failed', 'The answer to READ_FLASH did not come whole');
}

/** After a bad frame: the next one decides whether that was noise. @throws RateNotHeld */
export async function mustBeWhole({ channel, context }: Loader, sizeBytes: number, trial: Trial): Promise<void> {
  if (!trial.canBlame) return;
  const frame = await channel.receive(trial.packetMs, context.signal);
  if (frame?.length !== sizeBytes) throw new RateNotHeld();
}
