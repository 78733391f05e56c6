/** Options and help of `espd diff`. */

import type { Command } from 'commander';
import { PORT_HELP } from './arguments.ts';

const HELP = `
The sides:
  espd diff M            the newest backup of board M, against the one before it
  espd diff M@A M@B      two backups: WHICH as for restore --at; or M@A @B
  espd diff M1 M2        the latest backups of two boards
  espd diff M FILE.bin   a backup against a file: a name with a slash, or one
                         that ends in .bin, .img or .gz, is a file
  espd diff M --device   a backup against the attached board, by digests of the
                         chip: its flash is not read out, and nothing is written

Values of NVS keys are shown with --reveal only; those whose key names a secret
(passwords, keys, tokens) are never shown.

espd ends with 0 whether they differ or not; with --exit-code it ends with 4 if
they differ.`;

export function addDiff(command: Command): Command {
  return command
    .argument('<board>', 'the one side: MAC, MAC@WHICH or a file')
    .argument('[other]', 'the other side')
    .option('--device', 'the other side is the attached board', false)
    .option('--port <port>', `with --device: ${PORT_HELP}`)
    .option('--sectors', 'list the sectors that differ', false)
    .option('--reveal', 'show the values of NVS keys, but for secrets', false)
    .option('--exit-code', 'end with 4 if the sides differ', false)
    .addHelpText('after', HELP);
}
