/** `--record FILE`: what is said to boards goes into a file that can be sent to whoever looks for a fault. */

import { EspdError, toEspdError } from '../errors.ts';
import { printable } from '../printable.ts';
import type { Config } from '../config/loader.ts';
import { openLink } from '../serial/open-link.ts';
import { lineMemories } from '../transfer/line-memory.ts';
import type { RecordedSettings } from '../transfer/record/format.ts';
import { RecordingTape } from '../transfer/record/recording.ts';
import type { CommandContext } from './context.ts';
import type { CommonOptions } from './host.ts';

export interface Recorded {
  readonly context: CommandContext;
  /** Waits for the file; says where it is, or why there is none. Never rejects: the command's outcome is its own. */
  finish(): Promise<void>;
}

/**
 * A context whose links are recorded; undefined where no recording is wanted.
 * @throws EspdError `output-exists`, `output-unwritable`, `usage`, before any board is touched
 */
export async function startRecording(
  context: CommandContext,
  options: Pick<CommonOptions, 'record' | 'withPayload'>,
  command: string,
): Promise<Recorded | undefined> {
  const { record: path, withPayload = false } = options;
  if (path === undefined) {
    if (!withPayload) return undefined;
    throw new EspdError('usage', '--with-payload is about a recording', { hint: 'Name its file with --record' });
  }
  const { clock, config, files, log, out } = context;
  await files.checkNewFile(path);
  const tape = new RecordingTape({
    ...{ clock, command, withPayload, settings: settingsOf(config), asked: askedOf(options) },
    usbOf: async (address) => {
      const ports = await context.listPorts();
      return ports.find((port) => port.address === address || port.aliases?.includes(address))?.usb ?? null;
    },
  });
  const written = files.writeNewFile(path, tape.content()).then(
    () => undefined,
    (error: unknown) => toEspdError(error),
  );
  // What a reader on the chip sends is flash as well, in a form that only this espd understands.
  const reader = withPayload ? config.transfer.reader : 'never';
  return {
    context: {
      ...context,
      config: { ...config, transfer: { ...config.transfer, reader } },
      archive: tape.archive(context.archive),
      // What was learnt of the line before is not in the recording, and decides which rates are tried.
      lines: lineMemories(NOTHING_KEPT, { clock, log }),
      openLink: tape.opener(context.openLink ?? openLink),
    },
    finish: async () => {
      await tape.settled();
      tape.end();
      const error = await written;
      if (error !== undefined) out.error(error);
      else if (tape.isGivenUp) out.note('The recording is not complete: its disk is too slow');
      else if (withPayload)
        out.note(`Recorded in ${printable(path)}. It holds the flash of the board: passwords and keys`);
      else
        out.note(
          `Recorded in ${printable(path)}: no bytes of flash are in it, but the MAC is. Read it before you send it`,
        );
    },
  };
}

const NOTHING_KEPT = { read: () => Promise.resolve(undefined), write: () => Promise.resolve() };

function settingsOf({ jobs, serial, transfer }: Config): RecordedSettings {
  return {
    baudRate: serial.baudRate,
    connectAttempts: jobs.connectAttempts,
    reset: serial.resetSequence ?? serial.reset,
    full: transfer.full,
  };
}

/** Options that say what is done with the board; the others name files, ports and persons' words. */
const ASKED = [
  ...['full', 'halfRestored', 'to', 'partition', 'offset', 'size', 'keep', 'keepCalibration', 'snapshot', 'dryRun'],
  ...['unconfirmed', 'flashSize', 'ignoreRevision', 'ignoreFlashSize', 'ignoreSecurity', 'ignoreWriteProtect'],
  ...['ignoreLayout', 'ignoreChipChange'],
];

function askedOf(options: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(options).filter(([name]) => ASKED.includes(name)));
}
