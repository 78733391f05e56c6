/** Options and help of `espd restore`. */

import type { Command } from 'commander';
import {
  FLASH_SIZE_HELP,
  PORT_HELP,
  boardArgument,
  bytesArgument,
  countArgument,
  flashSizeArgument,
  listArgument,
} from './arguments.ts';

const HELP = `
What happens: espd verifies the backup, compares the board with it by digests,
shows the plan and asks. Then it backs up what is on the board, writes the
sectors that differ, and has the chip hash its flash before it resets the board.
If a restore is interrupted, the same command finishes it.

espd asks at the terminal, whatever is redirected. Where nobody can be asked (no
terminal, --json, CI, in the background), say --yes: without it nothing is
touched.

latest is the newest backup that is not the snapshot of a restore.`;

export function addRestore(command: Command): Command {
  return command
    .argument('[board]', 'restore a backup of this board: MAC or label, or BOARD@WHICH (see --at)')
    .option('--mac <mac>', 'the same as an option')
    .option('--from <mac>', 'the same, together with --to or --many')
    .option(
      '--at <which>',
      'which backup: latest (default), first, an id, or an ISO date (the newest one not after it)',
    )
    .option('--port <port>', PORT_HELP)
    .option('--to <board>', 'write to this other board: its MAC in full, or its label', boardArgument)
    .option('--wait [seconds]', 'wait until the board is plugged in', countArgument)
    .option('--many', 'write to each board that is plugged in from now on, until Ctrl-C')
    .option('--count <boards>', 'with --many: stop after this many boards', countArgument)
    .option('--partition <name>', 'write only this partition of the image; give it again for more', listArgument)
    .option('--offset <bytes>', 'write only a range of the image, with --size: 0x9000, 36K, 2M', bytesArgument)
    .option('--size <bytes>', 'the length of that range, in whole sectors of 4K', bytesArgument)
    .option('--dry-run', 'show the plan, write nothing', false)
    .option('--yes', 'do not ask', false)
    .option('--no-snapshot', 'do not back up what is on the board now: it will be lost')
    .option('--flash-size <size>', FLASH_SIZE_HELP, flashSizeArgument)
    .option('--ignore-revision', 'write although the image asks for another revision of the chip')
    .option('--ignore-flash-size', 'write to the beginning of a flash that is larger than the image')
    .option('--ignore-security', 'write although secure boot differs, or a single partition is not encrypted')
    .option('--ignore-write-protect', 'write although the flash says that it is locked')
    .option('--ignore-layout', 'write although the board has the partition in another place')
    .option('--ignore-chip-change', 'write although the board has another chip or flash chip than the backup')
    .addHelpText('after', HELP);
}
