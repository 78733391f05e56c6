/** The command line of `espd export`. */

import { Option, type Command } from 'commander';
import { bytesArgument } from '../arguments.ts';

export const FORMATS = ['bin', 'hex', 'merged-args'] as const;
export type ExportFormat = (typeof FORMATS)[number];

export function addExport(command: Command): Command {
  return command
    .argument('<board>', 'its MAC or label, or with @WHICH for one backup (WHICH as for restore --at)')
    .argument('<file>', 'a new file; - for stdout')
    .option('--partition <name>', 'only this partition, or --file in this one')
    .option('--offset <bytes>', 'only from here on, with --size: 0x9000, 36K', bytesArgument)
    .option('--size <bytes>', 'only so many bytes', bytesArgument)
    .option('--file <path>', 'one file out of a file system of the image: /wifi.json')
    .addOption(
      new Option('--format <format>', 'merged-args: as bin, and prints the command of esptool that writes it')
        .choices(FORMATS)
        .default('bin'),
    );
}
