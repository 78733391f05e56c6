/** The commands that are about a running daemon: their options and help. */

import { type Command, Option } from 'commander';
import type { EspdError } from '../../errors.ts';
import { NOW_HELP, boardArgument, timeArgument } from '../arguments.ts';
import type { Host } from '../host.ts';
import type { Output } from '../output.ts';
import type { HoldCommandOptions } from './hold.ts';
import type { WaitCommandOptions } from './wait.ts';
import type { WatchCommandOptions } from './watch.ts';

/** For a command that needs neither a sound config nor an archive. */
export type LoneRunner = (command: Command, work: (out: Output) => Promise<EspdError | undefined>) => Promise<void>;

export function addStationCommands(
  add: (name: string, description: string) => Command,
  runAlone: LoneRunner,
  host: Host,
): void {
  add('status', 'show what the daemon does: ports, boards, jobs, last results, what needs attention').action(
    (_, command: Command) =>
      runAlone(command, async (out) => (await import('./status.ts')).status(command.optsWithGlobals(), host, out)),
  );

  add('watch', 'show the ports live until Ctrl-C: what may be unplugged, what runs, what failed')
    .option('--bell', 'ring the bell of the terminal when a board is done or has failed', false)
    .action((options: WatchCommandOptions, command: Command) =>
      runAlone(command, async (out) =>
        (await import('./watch.ts')).watch(command.optsWithGlobals(), host, out, options),
      ),
    );

  add('wait', 'wait until a board is backed up, or only plugged in; for scripts')
    .requiredOption('--mac <board>', 'the board with this MAC or label', boardArgument)
    .option('--backup', 'until the daemon has backed it up since it was plugged in (this is the default)')
    .addOption(new Option('--plugged', 'only until the daemon sees it at a port').conflicts('backup'))
    .option('--timeout <time>', 'give up after so long: 90s, 10m, 2h; a number alone is seconds', timeArgument)
    .action((options: WaitCommandOptions, command: Command) =>
      runAlone(command, async (out) => (await import('./wait.ts')).wait(command.optsWithGlobals(), host, out, options)),
    );

  const TARGET = 'address of a port, or name of a remote; or MAC or label of a board that the daemon has found';
  add('hold', 'keep the daemon off a port, so that another program can have it')
    .argument('<port>', TARGET)
    .option('--for <time>', 'release it by itself after so long: 90s, 10m, 2h; a number alone is seconds', timeArgument)
    .option('--by <name>', 'who holds it, for people (default: espd hold)')
    .option('--now', NOW_HELP, false)
    .action((target: string, options: HoldCommandOptions, command: Command) =>
      runAlone(command, async (out) =>
        (await import('./hold.ts')).hold(command.optsWithGlobals(), host, out, target, options),
      ),
    );
  add('release', 'give a port back to the daemon')
    .argument('<port>', TARGET)
    .action((target: string, _, command: Command) =>
      runAlone(command, async (out) =>
        (await import('./hold.ts')).release(command.optsWithGlobals(), host, out, target),
      ),
    );
}
