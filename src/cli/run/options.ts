/** Options and help of `espd run`. */

import type { Command } from 'commander';
import { NOW_HELP, PORT_HELP, boardArgument } from '../arguments.ts';

const HELP = `
What happens: espd backs the board up, keeps the port for the command, runs it,
and backs the board up again. Then it says what the command changed, and how to
go back. If the first backup fails, the command is not run.

The command gets the port as $ESPD_PORT and the MAC as $ESPD_MAC; esptool,
idf.py and PlatformIO take it by themselves ($ESPTOOL_PORT, $ESPPORT,
$PLATFORMIO_UPLOAD_PORT). It has this terminal, and signals are passed on to it.

  espd run --port /dev/ttyUSB0 -- esptool write-flash 0 new.bin
  espd run --mac kitchen -- pio run -t upload

Exit status: that of the command, 128 and the signal's number where a signal
ended it. Where the command did well and espd then could not look at the board:
that of the failure. 2 where there is no such command.`;

export interface RunCommandOptions {
  readonly port?: string;
  /** MAC or label. */
  readonly mac?: string;
  /** False: `--no-lock`. */
  readonly lock: boolean;
  readonly now?: boolean;
}

export function addRun(command: Command): Command {
  return command
    .argument('<command...>', 'the command and its arguments, behind --')
    .option('--port <port>', PORT_HELP)
    .option('--mac <board>', 'the attached board with this MAC or label', boardArgument)
    .option('--now', NOW_HELP)
    .option('--no-lock', 'without a daemon: take no lock file, for programs that take it themselves (picocom)')
    .addHelpText('after', HELP);
}
