/** Options and help of `espd restore` and `espd undo`. */

import type { Command } from 'commander';
import {
  FLASH_SIZE_HELP,
  NOW_HELP,
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

--keep-calibration: on an ESP8266 the sectors rf_cal and phy, on others the
partition phy_init, if the image has one. The calibration that ESP-IDF keeps in
nvs is written with the rest: it names the MAC that it is of, and on another
board the app calibrates anew. --keep nvs keeps all that is in it.

latest is the newest backup that is not the snapshot of a restore.`;

export function addRestore(command: Command): Command {
  command
    .argument('[board]', 'restore a backup of this board: MAC or label, or BOARD@WHICH (see --at)')
    .option('--mac <mac>', 'the same as an option')
    .option('--from <mac>', 'the same, together with --to or --many')
    .option(
      '--at <which>',
      'which backup: latest (default), first, an id, or an ISO date (the newest one not after it)',
    )
    .option('--to <board>', 'write to this other board: its MAC in full, or its label', boardArgument)
    .option('--many', 'write to each board that is plugged in from now on, until Ctrl-C')
    .option('--count <boards>', 'with --many: stop after this many boards', countArgument)
    .option('--partition <name>', 'write only this partition of the image; give it again for more', listArgument)
    .option('--offset <bytes>', 'write only a range of the image, with --size: 0x9000, 36K, 2M', bytesArgument)
    .option('--size <bytes>', 'the length of that range, in whole sectors of 4K', bytesArgument)
    .option('--keep <name>', 'leave this partition of the board as it is; give it again for more', listArgument)
    .option('--keep-calibration', "leave the radio's calibration as it is, where the board has its own (see below)");
  return addPutBackOptions(command)
    .option(
      '--ignore-layout',
      'write or keep the place that the image says, although the board has the partition elsewhere',
    )
    .addHelpText('after', HELP);
}

const UNDO_HELP = `
What was on the board before the last restore of it is put back. If none is on
record, what was on it before its last change: the newest backup that differs
from the newest of all. Undo is itself a restore: undone once more, the board is
back where it was.

All of the flash goes back, also where only a part had been restored. For a
part: espd restore MAC@ID --partition NAME.`;

export function addUndo(command: Command): Command {
  return addPutBackOptions(command.argument('<board>', 'its MAC or label')).addHelpText('after', UNDO_HELP);
}

/** Options of every command that puts an image back: see `PutBackOptions`. */
function addPutBackOptions(command: Command): Command {
  return command
    .option('--port <port>', PORT_HELP)
    .option('--wait [seconds]', 'wait until the board is plugged in', countArgument)
    .option('--dry-run', 'show the plan, write nothing', false)
    .option('--yes', 'do not ask', false)
    .option('--now', NOW_HELP)
    .option('--unconfirmed', 'with --yes: write an imported image although no chip has confirmed it')
    .option('--no-snapshot', 'do not back up what is on the board now: it will be lost')
    .option('--flash-size <size>', FLASH_SIZE_HELP, flashSizeArgument)
    .option('--ignore-revision', 'write although the image asks for another revision of the chip')
    .option('--ignore-flash-size', 'write to the beginning of a flash that is larger than the image')
    .option('--ignore-security', 'write although secure boot differs, or a single partition is not encrypted')
    .option('--ignore-write-protect', 'write although the flash says that it is locked')
    .option('--ignore-chip-change', 'write although the board has another chip or flash chip than the backup');
}
