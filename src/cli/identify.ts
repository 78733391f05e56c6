/** `espd identify`: what esptool's flash_id tells, and more. */

import { type EspdError, hasCode } from '../errors.ts';
import type { FlashFacts } from '../esp/board.ts';
import { flashManufacturer } from '../esp/flash-ids.ts';
import { type Outcome, failuresJson, noteFailures, onBoards, overallError, selectPorts } from './boards.ts';
import type { CommandContext } from './context.ts';
import { bold, formatSize, printable } from './text.ts';

export interface IdentifyOptions {
  readonly port?: string;
}

export async function identify(context: CommandContext, options: IdentifyOptions): Promise<EspdError | undefined> {
  const { out } = context;
  const ports = await selectPorts(context, options.port);
  const { outcomes, failures } = await onBoards(context, ports, (session) => readFlashFacts(session.board));
  for (const outcome of outcomes) printBoard(context, outcome);
  const error = overallError(failures, outcomes.length, options.port !== undefined);
  noteFailures(context, failures, error);
  out.document({
    boards: outcomes.map((outcome) => boardJson(outcome)),
    failed: failuresJson(failures),
    ...(error === undefined ? {} : { error }),
  });
  return error;
}

/** A board whose flash does not identify itself is still identified. */
async function readFlashFacts(board: { openFlash(): Promise<FlashFacts> }): Promise<FlashFacts | EspdError> {
  try {
    return await board.openFlash();
  } catch (error) {
    if (hasCode(error, 'flash-unknown', 'no-stub-read')) return error;
    throw error;
  }
}

function boardJson({ port, identity, result }: Outcome<FlashFacts | EspdError>): object {
  const flash = result.value;
  return {
    port: port.address,
    chip: identity.chipName,
    family: identity.family,
    revision: identity.revision,
    features: identity.features,
    crystalMHz: identity.crystalMHz,
    mac: identity.mac,
    flash: flash instanceof Error ? null : flash,
    ...(flash instanceof Error ? { flashProblem: flash } : {}),
    security: identity.security,
    usb: port.usb,
  };
}

function printBoard({ out }: CommandContext, { port, identity, result }: Outcome<FlashFacts | EspdError>): void {
  const flash = result.value;
  const { flashEncryption, secureBoot } = identity.security;
  const security = [flashEncryption ? 'flash encryption' : '', secureBoot ? 'secure boot' : ''].filter(Boolean);
  out.line(bold(`${identity.mac}  ${identity.chipName}`));
  const rows: [string, string][] = [
    ['port', `${port.address}${!port.usb?.product ? '' : ` (${printable(port.usb.product)})`}`],
    ['revision', identity.revision],
    ['features', identity.features.join(', ')],
    ['crystal', `${identity.crystalMHz} MHz`],
    ['flash', flash instanceof Error ? `unknown: ${flash.message}` : flashText(flash)],
    ['security', security.length === 0 ? 'open' : security.join(', ')],
  ];
  for (const [name, value] of rows) out.line(`  ${name.padEnd(9)} ${value}`);
}

function flashText(flash: FlashFacts): string {
  const { manufacturer, device, sizeBytes } = flash;
  const name = flashManufacturer(flash);
  return `${formatSize(sizeBytes)}, manufacturer ${manufacturer}${name === undefined ? '' : ` (${name})`}, device ${device}`;
}
