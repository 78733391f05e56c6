/** The commands about the object store: their options and help. */

import type { Command } from 'commander';
import { EspdError } from '../../errors.ts';
import type { CommandContext } from '../context.ts';
import type { Host } from '../host.ts';
import type { StationsCommandOptions } from './other-stations.ts';
import type { PullCommandOptions } from './pull.ts';
import type { PullBoardsOptions } from './pull-boards.ts';
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
Without a board: reads the journals that other stations keep in the object
store, and says what is new. A running daemon does that by itself every few
minutes (store.look). Nothing is changed in the store but this station's own
journal. With --scan everything that lies there is listed, too: that finds
backups of which no journal tells, and those that are gone.

With a board: fetches its newest backup, or the one that WHICH names (as for
restore --at). Blocks that some image here has are not fetched, everything is
hashed, and what is here is never changed. Commands that need a backup which
lies in the store alone fetch it by themselves.`;

const STATIONS_HELP = `
Without options: what this station knows of the others, without asking the
store. --gone is for a station that will never come back (a stolen laptop, a dead
disk) and of whose journal something cannot be read: nobody else can mend that,
and until somebody says so, retention removes nothing from the store, for what
is missing may be a pin. Then every backup that lies there at that moment stays,
and later ones go by the policy. Should the station come back, it goes on as
before. The name of this station gives up what its own archive has lost and its
journal does not give back. docs/fleet.md tells more.`;

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

  add('pull', 'hear what other stations have put into the object store of the config, or fetch it')
    .argument('[backups...]', 'MACs or labels, or with @WHICH for one backup: fetch these')
    .option('--all', 'fetch every backup of these boards; without a board, of all boards', false)
    .option('--dry-run', 'only say what would be fetched', false)
    .option('--scan', 'also list all that lies there, and compare', false)
    .addHelpText('after', PULL_HELP)
    .action((backups: string[], options: PullCommandOptions & Omit<PullBoardsOptions, 'backups'>, command: Command) =>
      run(command, async (context) => {
        const { all, dryRun, scan } = options;
        const isFetch = backups.length > 0 || all || dryRun;
        if (!isFetch) return (await import('./pull.ts')).pull(context, { scan }, host.env);
        if (scan) throw new EspdError('usage', '--scan goes without boards, --all and --dry-run');
        return (await import('./pull-boards.ts')).pullBoards(context, { backups, all, dryRun }, host.env);
      }),
    );

  add('stations', 'which other stations use the object store, when each was heard, and which one is gone for ever')
    .option('--gone <station>', 'say of this one that it is gone for ever (its name, or how that begins)')
    .option('--give-up-pins', 'with --gone: keep nothing for pins that only its lost segments told of', false)
    .option('--back <station>', 'take that back')
    .option('--dry-run', 'with --gone: only say what that would mean', false)
    .option('--yes', 'do not ask', false)
    .addHelpText('after', STATIONS_HELP)
    .action((options: StationsCommandOptions, command: Command) =>
      run(command, async (context) => (await import('./other-stations.ts')).stations(context, options, host.env)),
    );
}
