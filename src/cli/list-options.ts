/** Options and help of `espd list`. */

import { type Command, Option } from 'commander';
import { firmwareArgument, spanArgument } from './arguments.ts';
import { SORT_KEYS } from './list-filter.ts';

const HELP = `
Filters combine: a board is listed if all of them fit. A condition on a version
compares as many numbers as it has: 13.4.0 is =13 and <=13, and not >13. Boards
whose version is unknown, or has no order with it, do not fit.

--csv is for spreadsheets: UTF-8, RFC 4180, sizes in bytes. A text that would be
taken for a formula has an apostrophe before it.

--sizes asks the file system: IMAGES is what the flash of all backups would take
uncompressed, ON DISK all that is in the board's folder, OTHER the part of it
that drafts, interrupted backups and trash take. Parts that a file system
shares between files are counted in each. --sort size then goes by ON DISK.`;

export function addList(command: Command): Command {
  return command
    .option('--chip <name>', 'only boards with this chip: esp32s3, ESP8266EX')
    .option('--firmware <range>', "only these: 'Tasmota', 'Tasmota <13', 'esphome >=2024.6 <2025'", firmwareArgument)
    .option('--group <group>', 'only boards of this group')
    .option('--label <pattern>', "only boards with such a label: kitchen, 'door*'")
    .option('--not-seen-for <time>', 'only boards that were not plugged in for so long: 12h, 30d, 4w, 1y', spanArgument)
    .option('--damaged', 'only boards of which something is damaged or cannot be read')
    .option('--half-restored', 'only boards whose restore was interrupted')
    .addOption(new Option('--sort <key>', 'in the order of this').choices(SORT_KEYS).default('mac'))
    .option('--reverse', 'the other way round')
    .option('--sizes', 'what boards and backups take on the disk')
    .option('--csv', 'write the table as CSV')
    .addHelpText('after', HELP);
}
