/** The commands about the object store: their options and help. */

import type { Command } from 'commander';
import type { EspdError } from '../../errors.ts';
import type { CommandContext } from '../context.ts';
import type { Host } from '../host.ts';
import type { PullCommandOptions } from './pull.ts';
import type { PushCommandOptions } from './push.ts';

/** For a command that needs config and archive. */
type ContextRunner = (
  command: Command,
  work: (context: CommandContext) => Promise<EspdError | undefined>,
) => Promise<void>;

const PUSH_HELP = `
A running daemon pushes by itself; this does it now, and says how it went. What
is there already is not sent again. Backups are never changed or removed by it,
neither here nor there. Which store: the section "store" of the config.`;

const PULL_HELP = `
Reads the journals that other stations keep in the object store, and says what
is new. A running daemon does that by itself every few minutes (store.look).
Nothing is changed in the store but this station's own journal. With --scan
everything that lies there is listed, too: that finds backups of which no
journal tells, and those that are gone.`;

export function addFleetCommands(
  add: (name: string, description: string) => Command,
  run: ContextRunner,
  host: Host,
): void {
  add('push', 'copy backups into the object store of the config that are not there yet')
    .argument('[boards...]', 'only these boards: MACs or labels')
    .option('--dry-run', 'only say what is not there yet', false)
    .option('--probe', 'first test again whether the store does what it should', false)
    .addHelpText('after', PUSH_HELP)
    .action((boards: string[], options: Omit<PushCommandOptions, 'boards'>, command: Command) =>
      run(command, async (context) => (await import('./push.ts')).push(context, { ...options, boards }, host.env)),
    );

  add('pull', 'hear what other stations have put into the object store of the config')
    .option('--scan', 'also list all that lies there, and compare', false)
    .addHelpText('after', PULL_HELP)
    .action((options: PullCommandOptions, command: Command) =>
      run(command, async (context) => (await import('./pull.ts')).pull(context, options, host.env)),
    );
}
