/** The command line of `espd import`. */

import { InvalidArgumentError, Option, type Command } from 'commander';
import { parseMoment } from '../../archive/which.ts';
import { flashSizeArgument } from '../arguments.ts';
import { DUMP_FAMILIES } from './told.ts';

export function addImport(command: Command): Command {
  return command
    .argument('<file...>', 'dumps; a folder for all in it; or OFFSET=FILE ... for parts of one flash (0x1000=boot.bin)')
    .option('--mac <mac>', 'the board that they are of, by MAC or label, where the names of the files do not tell')
    .option('--label <name>', 'gives that board this label')
    .option('--at <date>', 'when the flash was read: 2024-01-02, or 2024-01-02T15:04Z', dateArgument)
    .addOption(
      new Option('--chip <family>', 'the chip, where the image does not tell (encrypted flash)').choices(DUMP_FAMILIES),
    )
    .option('--size <size>', 'how large the flash is (4M), where the files are not all of it', flashSizeArgument)
    .option('--dry-run', 'only say what would be imported', false);
}

const SECONDS = /:\d{2}:\d{2}/;
const DAY = /^\d{4}-\d{2}-\d{2}$/;

/** A day means its beginning, in UTC, as a minute does: where several backups are of one day, an imported one is first. */
function dateArgument(text: string): Date {
  const moment = parseMoment(text);
  if (moment === undefined) {
    throw new InvalidArgumentError(
      'A date looks like 2024-01-02 or 2024-01-02T15:04Z; a time without Z is local time.',
    );
  }
  if (DAY.test(text)) return new Date(`${text}T00:00:00Z`);
  if (!SECONDS.test(text)) moment.setUTCSeconds(0);
  return moment;
}
