/** Options and help of `espd restore`. */

import type { Command } from 'commander';
import { PORT_HELP, bytesArgument, countArgument, listArgument, macArgument } from './arguments.ts';

const HELP = `
What happens: the archive is verified, the board compared with it by digests, the
plan shown and asked about; what is on the board is backed up; then only the sectors
that differ are written, and the chip hashes its flash before it is reset.
Interrupted, the same command finishes it.

The question is asked at the terminal, whatever is redirected. Where nobody can be
asked (no terminal, --json, CI, in the background) --yes is needed: without it
nothing is touched.

latest is the newest backup that is no snapshot of before a restore.`;

export function addRestore(command: Command): Command {
  return command
    .argument('[board]', 'MAC of the board whose backup is restored, or MAC@WHICH (see --at)')
    .option('--mac <mac>', 'the same as an option')
    .option('--from <mac>', 'the same, for --to and --many')
    .option('--at <which>', 'latest (default), first, a backup id, or an ISO date: the newest backup not after it')
    .option('--port <port>', PORT_HELP)
    .option('--to <mac>', 'write it to this other board on purpose; its MAC typed in full', macArgument)
    .option('--wait [seconds]', 'wait until the board is plugged in', countArgument)
    .option('--many', 'write it to each board that is plugged in from now on, until Ctrl-C')
    .option('--count <boards>', 'with --many: end after so many boards', countArgument)
    .option('--partition <name>', 'only this partition of the image; may be given again', listArgument)
    .option('--offset <bytes>', 'only a range of the image, with --size: 0x9000, 36K, 2M', bytesArgument)
    .option('--size <bytes>', 'how long that range is, in whole sectors of 4K', bytesArgument)
    .option('--dry-run', 'show what would be written, write nothing', false)
    .option('--yes', 'do not ask', false)
    .option('--no-snapshot', 'do not back up first what is on the board now: it is lost')
    .option('--ignore-revision', 'though the image asks for another revision of the chip')
    .option('--ignore-flash-size', 'though the flash is larger than the image: write its beginning')
    .option('--ignore-security', 'though secure boot differs, or a single partition is not encrypted')
    .option('--ignore-write-protect', 'though the flash says that it is locked')
    .option('--ignore-layout', 'though the board has the partition in another place')
    .addHelpText('after', HELP);
}
